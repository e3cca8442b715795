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
