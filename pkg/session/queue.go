package session

// A keyQueue hands out keys in the order they were first added; a key that waits already is not added again.
type keyQueue struct {
	order   []string
	waiting map[string]struct{}
}

func (q *keyQueue) push(key string) {
	if _, there := q.waiting[key]; there {
		return
	}
	if q.waiting == nil {
		q.waiting = map[string]struct{}{}
	}
	q.waiting[key] = struct{}{}
	q.order = append(q.order, key)
}

func (q *keyQueue) pop() (string, bool) {
	if len(q.order) == 0 {
		return "", false
	}
	key := q.order[0]
	q.order = q.order[1:]
	delete(q.waiting, key)
	if len(q.order) == 0 {
		// A map and an array that have grown once would otherwise stay that large for the life of an idle session.
		q.order, q.waiting = nil, nil
	}
	return key, true
}

func (q *keyQueue) len() int { return len(q.order) }

func (q *keyQueue) keys() []string { return append([]string(nil), q.order...) }
