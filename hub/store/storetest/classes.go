package storetest

// Classes stand in for the hub's PriorityClasses. The zero value has none.
type Classes struct {
	values   map[string]int32
	handlers []func(string)
}

// Put makes or replaces a class.
func (c *Classes) Put(name string, priority int32) {
	if c.values == nil {
		c.values = map[string]int32{}
	}
	c.values[name] = priority
	c.tell(name)
}

// Drop takes a class away.
func (c *Classes) Drop(name string) {
	delete(c.values, name)
	c.tell(name)
}

func (c *Classes) tell(name string) {
	for _, handler := range c.handlers {
		handler(name)
	}
}

// Value returns the priority of a class.
func (c *Classes) Value(name string) (int32, bool) {
	priority, exists := c.values[name]
	return priority, exists
}

// OnChanged has changed called with the name of every class that comes, goes, or is replaced.
func (c *Classes) OnChanged(changed func(string)) error {
	c.handlers = append(c.handlers, changed)
	return nil
}
