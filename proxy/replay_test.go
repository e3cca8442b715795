package proxy

import (
	"strings"
	"testing"
)

func TestWhatIsKeptToBeSentAgainIsAllOrNothing(t *testing.T) {
	t.Parallel()
	var b budget
	b.left.Store(100)
	part := func(n int) []byte { return []byte(strings.Repeat("x", n)) }
	for what, c := range map[string]struct {
		limit int
		parts []int
		whole bool
	}{
		"within":           {50, []int{20, 30}, true},
		"beyond its limit": {50, []int{20, 31}, false},
		"nothing allowed":  {0, []int{1}, false},
		"nothing went":     {0, nil, true},
		"beyond all":       {1000, []int{60, 41}, false},
	} {
		var r replay
		r.begin(&b, c.limit)
		sum := 0
		for _, n := range c.parts {
			if !r.keep(part(n)) {
				t.Errorf("%s: it was to stop", what)
			}
			sum += n
		}
		if r.whole() != c.whole || r.claim() != c.whole || c.whole && len(r.again()) != sum || !c.whole && len(r.again()) != 0 {
			t.Errorf("%s: %+v", what, &r)
		}
		r.settle()
		if left := b.left.Load(); left != 100 {
			t.Errorf("%s: %d bytes are missing", what, 100-left)
		}
	}
}

// Who decides on another try must not find a moment later that the rest is lost.
func TestWhatIsClaimedIsNotLostAfterwards(t *testing.T) {
	t.Parallel()
	var b budget
	b.left.Store(10)
	var r replay
	r.begin(&b, 10)
	r.keep([]byte("12345"))
	if !r.claim() {
		t.Fatal("it is whole")
	}
	if r.keep([]byte("6789012345")) {
		t.Error("the body goes on, though it is to be sent again")
	}
	if got := string(r.again()); got != "123456789012345" {
		t.Errorf("%q is sent again", got)
	}
	r.settle()
	if left := b.left.Load(); left != 10 {
		t.Errorf("%d of 10 are left", left)
	}
}
