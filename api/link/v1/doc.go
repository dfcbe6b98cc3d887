// Package linkv1 is the vocabulary of the stream between a hub and the agents of its members, and nothing else:
// it is generated from link.proto and capacity.proto, where every message is explained. What the words mean in which
// order is decided by pkg/session.
package linkv1

// QuestionCapacity is the kind of the question how many more replicas fit: a CapacityQuestion, answered by a
// CapacityAnswer.
const QuestionCapacity = "capacity"
