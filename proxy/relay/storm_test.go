package relay_test

import (
	"bytes"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/proxy/relay"
)

// Whatever hundreds of pairs do at once, each end sees a prefix of what the other
// sent, the whole of it where both ended well, and nothing is left behind.
func TestEveryPairGetsItsOwnBytesInAStorm(t *testing.T) {
	t.Parallel()
	for mode, cfg := range modes {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			cfg.IdleTimeout = time.Minute
			r := newRig(t, cfg)
			var all sync.WaitGroup
			for i := range 80 {
				c := r.carry("", "")
				all.Go(func() { misbehave(t, c, uint64(i)) })
			}
			all.Wait()
			if s := r.engine.Stats(); s.Pairs != 0 || s.Buffered != 0 {
				t.Errorf("left: %+v", s)
			}
		})
	}
}

func misbehave(t *testing.T, c *carried, seed uint64) {
	random := rand.New(rand.NewPCG(seed, 9))
	texts := [2][]byte{noise(random.IntN(1<<20), seed), noise(random.IntN(100<<10), seed+1000)}
	ends := [2]*net.TCPConn{c.a, c.b}
	size, slow, how := 1+random.IntN(200<<10), random.IntN(3) == 0, random.IntN(4)
	var both sync.WaitGroup
	for i := range ends {
		both.Go(func() {
			sendAll(ends[i], texts[i], size)
		})
		both.Go(func() {
			var got bytes.Buffer
			var err error
			switch {
			case how == 1 && i == 0: // leaves in the middle
				_, err = io.CopyN(&got, ends[0], int64(len(texts[1])/2))
				ends[0].SetLinger(0)
				ends[0].Close()
			case how == 2 && i == 1:
				_, err = io.CopyN(&got, ends[1], int64(len(texts[0])/2))
				ends[1].Close()
			case how == 3 && i == 1:
				c.Cut()
				_, err = io.Copy(&got, ends[1])
			default:
				err = readSome(&got, ends[i], slow)
			}
			if !bytes.HasPrefix(texts[1-i], got.Bytes()) {
				t.Errorf("pair %d: end %d got %d bytes that were not sent to it", seed, i, got.Len())
			}
			if how == 0 && (err != nil || got.Len() != len(texts[1-i])) {
				t.Errorf("pair %d: end %d got %d of %d bytes, %v", seed, i, got.Len(), len(texts[1-i]), err)
			}
		})
	}
	both.Wait()
	c.end(t)
}

func readSome(to *bytes.Buffer, from io.Reader, slow bool) error {
	if !slow {
		_, err := io.Copy(to, from)
		return err
	}
	for {
		if _, err := io.CopyN(to, from, 1000); err != nil {
			if err == io.EOF {
				return nil
			}
			return err
		}
	}
}

// An idle pair holds its two sockets; not even one that was busy keeps a pipe.
func TestIdlePairsHoldTwoDescriptorsEach(t *testing.T) {
	r := newRig(t, relay.Config{})
	warm := r.carry("", "")
	exchange(t, warm, 1<<20)
	before := descriptors(t)
	var all []*carried
	for range 50 {
		all = append(all, r.carry("", ""))
	}
	for _, c := range all {
		exchange(t, c, 300<<10)
	}
	far := 2 * len(all) // the tests' own ends
	if got := descriptors(t) - before - far; got > 2*len(all)+8 {
		t.Errorf("%d idle pairs hold %d descriptors", len(all), got)
	}
	for _, c := range append(all, warm) {
		c.a.Close()
		c.b.Close()
		c.end(t)
	}
	if got := descriptors(t); got > before {
		t.Errorf("%d descriptors, were %d", got, before)
	}
}

func exchange(t *testing.T, c *carried, n int) {
	t.Helper()
	go c.a.Write(make([]byte, n))
	if _, err := io.ReadFull(c.b, make([]byte, n)); err != nil {
		t.Fatal(err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
