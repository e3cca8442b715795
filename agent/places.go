package agent

import (
	"sync"
	"time"
)

// places bound how much is done at a time.
type places chan struct{}

// placeTime is how long one that has a place keeps others from it. A pod that may change
// its own rules can make them a million, which take the kernel seconds to read: were its
// place kept for that long, a few such pods would keep every beat from all others.
const placeTime = 2 * time.Second

// take waits for a place. leave gives it back; after most it is given back all the same, while whoever took it
// goes on: each pod has one action at a time, so there are never many of these.
func (p places) take(most time.Duration) (leave func()) {
	p <- struct{}{}
	free := sync.OnceFunc(func() { <-p })
	late := time.AfterFunc(most, free)
	return func() {
		late.Stop()
		free()
	}
}
