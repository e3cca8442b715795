package proxy

import (
	"math/rand/v2"
	"testing"
)

func TestEveryPortionFindsItsPartHoweverMuchOthersHold(t *testing.T) {
	t.Parallel()
	x := NewShares(Totals{Descriptors: 4000, Memory: 1 << 20, Fixed: 1})
	all := make([]*Share, 10)
	for i := range all {
		all[i] = x.Join()
	}
	greedy := 0
	for all[0].of.descriptors.take(&all[0].descriptors, 1) {
		greedy++
	}
	const each = (4000 - 10) / 4 / 10
	if want := 4000 - 10 - 9*each; greedy != want {
		t.Errorf("the only one that asks got %d, want %d", greedy, want)
	}
	for _, s := range all[1:] {
		if _, sure := s.Usage(); sure.Connections != each {
			t.Errorf("%d for sure, want %d", sure.Connections, each)
		}
		for n := range each {
			if !x.descriptors.take(&s.descriptors, 1) {
				t.Fatalf("only %d of %d", n, each)
			}
		}
		if x.descriptors.take(&s.descriptors, 1) {
			t.Error("more than its part while there is none")
		}
	}
	if held, most := x.Usage(); held.Connections != most.Connections {
		t.Errorf("%d of %d are held", held.Connections, most.Connections)
	}
	for range each {
		x.descriptors.giveBack(&all[3].descriptors, 1)
	}
	if x.descriptors.take(&all[0].descriptors, 1) {
		t.Error("another got what is owed")
	}
	all[3].Leave()
	if !x.descriptors.take(&all[0].descriptors, 1) {
		t.Error("what one has left is nobody's")
	}
}

// Whatever is taken, given back, joined and left: nothing beyond the total is given out,
// and who has less than its part gets more, unless others held what became its part
// when somebody joined.
func TestAPotIsNeverOverdrawn(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	p := &pot{all: 1000, fixed: 3}
	var of []*portion
	each := func(yield func(*portion)) {
		for _, one := range of {
			yield(one)
		}
	}
	joined := false // since everybody's part was there
	for range 100_000 {
		switch one := r.IntN(100); {
		case one < 2 && len(of) < 20:
			of = append(of, &portion{})
			p.divide(len(of), each)
			joined = true
		case one < 3 && len(of) > 0:
			if i := r.IntN(len(of)); of[i].used == 0 {
				of = append(of[:i], of[i+1:]...)
				p.divide(len(of), each)
			}
		case len(of) == 0:
		case one < 60:
			i, n := r.IntN(len(of)), int64(1+r.IntN(40))
			sure := of[i].used+n <= p.each
			if got := p.take(of[i], n); sure && !got && !joined {
				t.Fatalf("%d of %d for sure, and %d more were refused", of[i].used, p.each, n)
			}
		default:
			if i := r.IntN(len(of)); of[i].used > 0 {
				p.giveBack(of[i], 1+r.Int64N(of[i].used))
			}
		}
		var used, owed int64
		each(func(one *portion) { used += one.used; owed += p.lacks(one.used) })
		if used != p.used || owed != p.owed {
			t.Fatalf("%d used and %d owed, by the books %d and %d", used, owed, p.used, p.owed)
		}
		if used > p.all {
			t.Fatalf("%d of %d are given out", used, p.all)
		}
		joined = joined && used+owed > p.total
	}
}
