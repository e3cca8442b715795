package egress

import "sync"

// count says how often something happened, and when it does again.
type count struct {
	mu   sync.Mutex
	n    int
	next chan struct{} // closed at the next time; nil while nobody waits
}

func (c *count) another() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	if c.next != nil {
		close(c.next)
		c.next = nil
	}
}

// now is how often until now, and what is closed when that is no longer so.
func (c *count) now() (int, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next == nil {
		c.next = make(chan struct{})
	}
	return c.n, c.next
}
