package agent

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestWhoTakesLongKeepsNobodyFromAPlace(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := make(places, 2)
		begun := time.Now()
		slow := []func(){p.take(placeTime), p.take(placeTime)}
		quick := p.take(placeTime)
		if waited := time.Since(begun); waited != placeTime {
			t.Errorf("waited %s for a place, want %s", waited, placeTime)
		}
		quick()
		for _, leave := range slow { // gives back nothing that is another's by now
			leave()
		}
		if len(p) != 0 {
			t.Errorf("%d places are taken, and nobody is there", len(p))
		}
		p.take(placeTime)()
		time.Sleep(2 * placeTime)
		if len(p) != 0 {
			t.Errorf("%d places are taken, and nobody is there", len(p))
		}
	})
}
