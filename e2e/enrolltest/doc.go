// Package enrolltest alone proves that a real agent's enrolment and a real hub's fit together over
// real TLS, through real proxies and against what may stand in between. Only it imports both.
package enrolltest
