package spread

import (
	"sync/atomic"
	"testing"
)

func TestEachIsDoneOnce(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 7, 1000} {
		for _, few := range []int{0, 100} {
			done := make([]atomic.Int32, n)
			Over(n, few, func(i int) { done[i].Add(1) })
			for i := range done {
				if times := done[i].Load(); times != 1 {
					t.Errorf("of %d, few being %d, number %d is done %d times", n, few, i, times)
				}
			}
		}
	}
}
