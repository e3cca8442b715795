package agent

import "sync"

// queue brings things from many goroutines to one, in order. Putting never waits.
type queue[T any] struct {
	mu    sync.Mutex
	all   []T
	ready chan struct{} // has a token while there may be something
}

func newQueue[T any]() *queue[T] { return &queue[T]{ready: make(chan struct{}, 1)} }

func (q *queue[T]) put(v T) {
	q.mu.Lock()
	q.all = append(q.all, v)
	q.mu.Unlock()
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take is everything that was put since.
func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.all
	q.all = nil
	return all
}
