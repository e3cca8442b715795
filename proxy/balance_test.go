package proxy

import (
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// shares counts whom an algorithm chooses in so many draws. Turns are taken in order,
// other draws are random by a fixed seed.
func shares(c choice, b mesh.Balance, draws int) []int {
	r := rand.New(rand.NewPCG(1, 2))
	got := make([]int, c.n)
	for turn := range draws {
		draw := uint32(turn)
		if b != mesh.RoundRobin {
			draw = r.Uint32()
		}
		got[c.pick(b, draw)]++
	}
	return got
}

func TestEachAlgorithmGivesEachEndpointItsShare(t *testing.T) {
	t.Parallel()
	of := func(values ...uint32) func(int) uint32 { return func(i int) uint32 { return values[i] } }
	busy := func(values ...int32) func(int) int32 { return func(i int) int32 { return values[i] } }
	idle := func(int) int32 { return 0 }
	not := func(out int) func(int) bool { return func(i int) bool { return i != out } }
	const draws = 60_000
	for what, c := range map[string]struct {
		choice
		balance mesh.Balance
		want    []float64 // of all draws
		exact   bool
	}{
		"in turn":                         {choice{3, nil, nil, idle}, mesh.RoundRobin, []float64{1. / 3, 1. / 3, 1. / 3}, true},
		"in turn without one":             {choice{3, not(1), nil, idle}, mesh.RoundRobin, []float64{.5, 0, .5}, true},
		"in turn by weight":               {choice{3, nil, of(1, 2, 3), idle}, mesh.RoundRobin, []float64{1. / 6, 1. / 3, .5}, true},
		"in turn by weight without one":   {choice{3, not(2), of(1, 2, 3), idle}, mesh.RoundRobin, []float64{1. / 3, 2. / 3, 0}, true},
		"in turn whatever there is to do": {choice{2, nil, nil, busy(9, 0)}, mesh.RoundRobin, []float64{.5, .5}, true},
		"random":                          {choice{4, nil, nil, idle}, mesh.Random, []float64{.25, .25, .25, .25}, false},
		"random whatever the weight":      {choice{2, nil, of(1, 99), busy(9, 0)}, mesh.Random, []float64{.5, .5}, false},
		"random without one":              {choice{3, not(0), nil, idle}, mesh.Random, []float64{0, .5, .5}, false},
		"all idle":                        {choice{4, nil, nil, idle}, mesh.LeastRequest, []float64{.25, .25, .25, .25}, false},
		// Of two draws from two the busy one wins only where both draw it.
		"one of two busy":   {choice{2, nil, nil, busy(1, 0)}, mesh.LeastRequest, []float64{.25, .75}, false},
		"one of three busy": {choice{3, nil, nil, busy(0, 5, 0)}, mesh.LeastRequest, []float64{4. / 9, 1. / 9, 4. / 9}, false},
		"one left out":      {choice{3, not(0), nil, busy(0, 1, 0)}, mesh.LeastRequest, []float64{0, .25, .75}, false},
		"idle by weight":    {choice{2, nil, of(1, 3), idle}, mesh.LeastRequest, []float64{.25, .75}, false},
		"busy by weight":    {choice{2, nil, of(1, 3), busy(0, 2)}, mesh.LeastRequest, []float64{.5, .5}, false},
	} {
		for i, n := range shares(c.choice, c.balance, draws) {
			want := c.want[i] * draws
			off := float64(n) - want
			if limit := 5 * 122.; c.exact && (off > 1 || off < -1) || off > limit || off < -limit || c.want[i] == 0 && n > 0 { // σ ≤ 122
				t.Errorf("%s: number %d has %d of %d, want %.0f", what, i, n, draws, want)
			}
		}
	}
}

func TestAChoiceIsAlwaysOneOfThoseThatAreWanted(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		n := 1 + r.IntN(9)
		wanted, weights, active, any := make([]bool, n), make([]uint32, n), make([]int32, n), false
		for i := range n {
			wanted[i], weights[i], active[i] = r.IntN(2) == 0, r.Uint32()>>r.IntN(32), int32(r.IntN(4)-1)
			any = any || wanted[i]
		}
		c := choice{n: n, wanted: func(i int) bool { return wanted[i] }, active: func(i int) int32 { return active[i] }}
		if r.IntN(2) == 0 {
			c.weight = func(i int) uint32 { return weights[i] }
		}
		b := mesh.Balance(r.IntN(3))
		if got := c.pick(b, r.Uint32()); any && (got < 0 || !wanted[got]) || !any && got != -1 {
			t.Fatalf("%d of %v, weights %v, active %v, balance %d", got, wanted, weights, active, b)
		}
	}
}

// fleetFor is a fleet of endpoints that are written as addresses.
func fleetFor(weights []uint32, texts ...string) *fleet {
	u := &upstream{server: &Server{}}
	var from []source
	for i, text := range texts {
		from = append(from, source{written: netip.MustParseAddr(text), port: 80, weight: weights[i]})
	}
	return u.newFleet(&mesh.Cluster{}, from)
}

func TestAnEndpointThatFailedIsNotTriedAgainWhereThereIsAnother(t *testing.T) {
	t.Parallel()
	for _, weights := range [][]uint32{{1, 1, 1}, {98, 1, 1}, {100, 1, 1}} {
		f := fleetFor(weights, "192.0.2.1", "192.0.2.2", "192.0.2.3")
		a := asked{}.without(netip.MustParseAddrPort("192.0.2.1:80")).without(netip.MustParseAddrPort("192.0.2.3:80"))
		for _, b := range []mesh.Balance{mesh.LeastRequest, mesh.RoundRobin, mesh.Random} {
			for draw := range uint32(200) {
				if got := f.pick(&Server{}, &mesh.Cluster{PoolSettings: mesh.PoolSettings{Balance: b}}, 0, &a, draw); got.addr.Addr() != netip.MustParseAddr("192.0.2.2") {
					t.Fatalf("weights %v, balance %d, draw %d: %v", weights, b, draw, got.addr)
				}
			}
		}
	}
}

func TestOfANamesAddressesThoseOfTheApplicationsFamilyComeFirst(t *testing.T) {
	t.Parallel()
	addrs := func(texts ...string) (all []netip.Addr) {
		for _, text := range texts {
			all = append(all, netip.MustParseAddr(text))
		}
		return all
	}
	both := source{name: "a.test", port: 80, weight: 1, addrs: addrs("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2")}
	six := source{name: "b.test", port: 80, weight: 1, addrs: addrs("2001:db8::9")}
	written := source{written: netip.MustParseAddr("fd00::1"), port: 80, weight: 1}
	dual := []source{{written: netip.MustParseAddr("10.96.0.7"), port: 80, weight: 1}, {written: netip.MustParseAddr("fd00:96::7"), port: 80, weight: 1}}
	inTurn := &mesh.Cluster{PoolSettings: mesh.PoolSettings{Balance: mesh.RoundRobin}}
	with, without := &Server{}, &Server{}
	with.ipv6.ask, without.ipv6.ask = func() bool { return true }, func() bool { return false }
	at := func(addr netip.Addr) netip.AddrPort { return netip.AddrPortFrom(addr, 80) }
	from4, from6 := asked{dst: netip.MustParseAddrPort("203.0.113.1:80")}, asked{dst: netip.MustParseAddrPort("[2001:db8::99]:80")}
	for what, c := range map[string]struct {
		s    *Server
		a    asked
		from []source
		want string
	}{
		"IPv4":                        {with, from4, []source{both}, "192.0.2.1 192.0.2.2 "},
		"IPv6":                        {with, from6, []source{both}, "2001:db8::1 2001:db8::2 "},
		"no route":                    {without, from6, []source{both}, "192.0.2.1 192.0.2.2 "},
		"nothing but IPv6":            {without, from4, []source{six}, "2001:db8::9 "},
		"each name by itself":         {with, from4, []source{both, six}, "192.0.2.1 192.0.2.2 2001:db8::9 "},
		"each name, no route":         {without, from4, []source{both, six}, "192.0.2.1 192.0.2.2 "},
		"what is written is of use":   {without, from4, []source{both, written}, "192.0.2.1 192.0.2.2 fd00::1 "},
		"one failed":                  {with, from4.without(at(both.addrs[0])), []source{both}, "192.0.2.2 "},
		"all of the family failed":    {with, from4.without(at(both.addrs[0])).without(at(both.addrs[1])), []source{both}, "2001:db8::1 2001:db8::2 "},
		"endpoints of both families":  {with, from4, dual, "10.96.0.7 fd00:96::7 "},
		"a Service, IPv4":             {with, from4, dual, "10.96.0.7 "},
		"a Service, IPv6":             {without, from6, dual, "fd00:96::7 "},
		"a Service that failed so":    {with, from4.without(at(dual[0].written)), dual, "fd00:96::7 "},
		"all of use failed, no route": {without, from4.without(at(both.addrs[0])).without(at(both.addrs[1])), []source{both}, "192.0.2.1 192.0.2.2 "},
	} {
		cluster := *inTurn
		cluster.EitherFamily = strings.HasPrefix(what, "a Service")
		f := (&upstream{server: c.s}).newFleet(&cluster, c.from)
		seen := map[netip.AddrPort]bool{}
		for draw := range uint32(64) {
			seen[f.pick(c.s, &cluster, 0, &c.a, draw).addr] = true
		}
		got := ""
		for i := range f.members {
			if m := &f.members[i]; seen[m.addr] {
				got += m.addr.Addr().String() + " "
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", what, got, c.want)
		}
	}
}
