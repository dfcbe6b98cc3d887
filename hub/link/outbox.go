package link

import (
	"sync"

	linkv1 "windlass.dev/windlass/api/link/v1"
)

// An outbox is what waits to be sent to one agent, in order. A goroutine sends as long as something waits, and ends then: nearly all
// agents are idle nearly always, and each would hold a stack. Safe for concurrent use.
type outbox struct {
	// send sends one message and says whether more can be sent. It is called by one goroutine at a time.
	send func(*linkv1.FromHub) bool
	// most is how many messages may wait.
	most int

	mu              sync.Mutex
	waiting         []*linkv1.FromHub
	sending, closed bool
	sent            chan struct{} // closed when nothing is sent any more
}

func newOutbox(most int, send func(*linkv1.FromHub) bool) *outbox {
	return &outbox{send: send, most: most, sent: make(chan struct{})}
}

// put has a message sent; false when too many wait. What is put after the end is dropped.
func (o *outbox) put(m *linkv1.FromHub) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return true
	case len(o.waiting) >= o.most:
		return false
	}
	o.waiting = append(o.waiting, m)
	if !o.sending {
		o.sending = true
		go o.run()
	}
	return true
}

// finish takes nothing more. The channel is closed when what waits has been sent, or can't be.
func (o *outbox) finish() (sent <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed {
		o.closed = true
		if !o.sending {
			close(o.sent)
		}
	}
	return o.sent
}

// drop has nothing sent any more, but for what is being sent.
func (o *outbox) drop() {
	o.finish()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.waiting = nil
}

func (o *outbox) run() {
	for m := o.next(); m != nil; m = o.next() {
		if !o.send(m) {
			o.drop()
		}
	}
}

// next takes the message to be sent next; nil ends the goroutine.
func (o *outbox) next() *linkv1.FromHub {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting) == 0 {
		o.waiting, o.sending = nil, false
		if o.closed {
			close(o.sent)
		}
		return nil
	}
	m := o.waiting[0]
	o.waiting[0], o.waiting = nil, o.waiting[1:]
	return m
}
