package await_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
)

func TestACostlyQuestionIsAskedMoreSeldom(t *testing.T) {
	t.Parallel()
	for costs, want := range map[time.Duration]int{0: 501, 20 * time.Millisecond: 25, 900 * time.Millisecond: 2} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			if await.Within(time.Second, func() bool { asked++; time.Sleep(costs); return false }) {
				t.Error("what never holds did")
			}
			if asked < want || asked > want+1 {
				t.Errorf("asked %d times in a second for what takes %v, not %d", asked, costs, want)
			}
		})
	}
}

func TestOneQuickTryIsEnough(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct{ quickAt, done int }{{1, 1}, {3, 3}, {100, 10}} {
			done := 0
			took := await.Fastest(time.Second, func() {
				if done++; done < c.quickAt {
					time.Sleep(2 * time.Second)
				}
			})
			if quick := c.quickAt == c.done; done != c.done || quick != (took < time.Second) {
				t.Errorf("quick at try %d: done %d times, %v", c.quickAt, done, took)
			}
		}
	})
}
