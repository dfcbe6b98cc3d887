// Package session is the conversation between a hub and the agent of one member, as two state machines. It alone
// decides what is said, when, and what an answer means; it does no I/O, starts no goroutine and reads no clock.
//
// # Shape
//
// A machine is told what happened (a message arrived, a key is dirty, something became durable, time has passed) and
// collects what has to be done. Ready hands out those effects, in order. A machine is used by one goroutine.
//
// What is queued are keys, never payloads: when there is room for another message the key is looked up, and what is
// sent is its state at that moment. So a burst on one work collapses into its last state, memory is bounded by the
// number of works, and a broken stream costs nothing but a comparison.
//
// # The hub's states
//
//	           hello, admitted                 differs                  all acknowledged, complete
//	┌───────┐ ────────────────► ┌───────┐ ───────────────► ┌──────────┐ ─────────────────────────► ┌───────────┐
//	│ Admit │                   │ Probe │                  │ Snapshot │                            │ Replicate │
//	└───────┘                   └───────┘ ──────────────── └──────────┘ ─────────────────────────► └───────────┘
//	                                ▲        equal                                                       │
//	                                └────────────────────────────────────────────────────────────────────┘
//	                                       a work vanished without a removal, or a held removal was confirmed
//
// Probe compares (key, UID, generation, hash) of every work, by digests of buckets first when there are many. Snapshot
// sends the differences. Replicate sends dirty keys. In both, at most Window messages are unacknowledged, and of one
// key at most one. A broken stream ends the machine; the next stream gets a new one, which begins in Admit.
//
// # What must always hold
//
//   - Absence never means delete. An agent removes a work on an explicit removal that names its UID; or on the Complete
//     of a list that lacks it, if the list is of the store that the agent obeys, is not older than what the agent has
//     seen, and arrived whole.
//   - A store that was cut back below what an agent has seen, however much has been written to it since, or is another
//     one, deletes nothing at that agent: the hub is put into restore mode for that member before the agent is welcomed,
//     and then every removal waits for a person. See History.
//   - What an agent remembers of the store is never less than what it holds: the mark moves into a new era before
//     anything of that era is obeyed.
//   - More removals than the brake allows wait for a person, on either side. One that only lets go of its objects is not
//     counted, and then it deletes none.
//   - A report that the agent was not told is recorded is sent again, in this session or the next; and so is each, when
//     the store turns out to have been cut back below what the agent was told.
package session
