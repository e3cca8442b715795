// Package spread has work done on as many processors as there are.
package spread

import (
	"runtime"
	"sync"
)

// Over calls do for each of n, in any order and several at a time; fewer than few are done
// one after another by the caller, where starting goroutines costs more than it saves. It
// returns when all are done.
func Over(n, few int, do func(i int)) {
	workers := min(runtime.GOMAXPROCS(0), n)
	if workers < 2 || n < few {
		for i := range n {
			do(i)
		}
		return
	}
	var all sync.WaitGroup
	for w := range workers {
		all.Go(func() {
			for i := w; i < n; i += workers {
				do(i)
			}
		})
	}
	all.Wait()
}
