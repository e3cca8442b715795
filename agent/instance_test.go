package agent

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"
)

func TestPodsAreNumberedInTheOrderOfTheirFirstStarts(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "instances")
	number := func(uid string, now time.Time) int64 {
		t.Helper()
		n, err := NumberInstance(dir, uid, now)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	start := time.Unix(1000, 0)
	a := number("a", start)
	b := number("b", start.Add(-time.Hour)) // the clock was set back
	if a != start.UnixNano() || b != a+1 {
		t.Errorf("numbers are %d and %d", a, b)
	}
	if err := os.WriteFile(filepath.Join(dir, "7x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, strconv.FormatInt(start.UnixNano()*9, 10)), 0o700); err != nil {
		t.Fatal(err)
	}
	if again := number("a", start.Add(time.Hour)); again != a {
		t.Errorf("the first pod's number was %d and is %d", a, again)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if c := number("c", start.Add(time.Hour)); c <= b {
		t.Errorf("the number after all were removed is %d, before it was %d", c, b)
	}
}

func TestPodsThatStartAtOnceHaveNumbersOfTheirOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	now := time.Unix(1000, 0)
	const pods = keptInstances / 2
	var mu sync.Mutex
	numbers := map[int64]bool{}
	var all sync.WaitGroup
	for i := range pods {
		all.Go(func() {
			n, err := NumberInstance(dir, strconv.Itoa(i), now)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			numbers[n] = true
			mu.Unlock()
		})
	}
	all.Wait()
	if len(numbers) != pods {
		t.Errorf("%d pods have %d numbers", pods, len(numbers))
	}
	for i := range 2 * keptInstances {
		if _, err := NumberInstance(dir, strconv.Itoa(pods+i), now); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := instanceNumbers(dir); err != nil || len(left) != keptInstances+1 {
		t.Errorf("%d numbers are left, %v", len(left), err)
	}
}

func TestAPodWithoutAPlaceForItsNumberHasNone(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := NumberInstance(filepath.Join(file, "instances"), "a", time.Now()); n != 0 || err == nil {
		t.Errorf("number %d, %v", n, err)
	}
}
