package cidr_test

import (
	"flag"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr"
)

var seed = flag.Uint64("seed", 0, "seed of the property tests; 0 picks one")

func random(t *testing.T) *rand.Rand {
	s := *seed
	if s == 0 {
		s = uint64(time.Now().UnixNano())
	}
	t.Logf("repeat with: go test ./cidr -run %s -seed %d", t.Name(), s)
	return rand.New(rand.NewPCG(s, 0))
}

// The model: the 16 addresses of 10.0.0.0/28 and of 2001:db8::/124, each in or out.
var universe = cidr.Of(netip.MustParsePrefix("10.0.0.0/28"), netip.MustParsePrefix("2001:db8::/124"))

func addresses() []netip.Addr {
	var out []netip.Addr
	for _, p := range universe.Prefixes {
		for a := p.Addr(); p.Contains(a); a = a.Next() {
			out = append(out, a)
		}
	}
	return out
}

func randomList(r *rand.Rand) cidr.List {
	if r.IntN(12) == 0 {
		return cidr.Everything()
	}
	all := addresses()
	var prefixes []netip.Prefix
	for range r.IntN(6) {
		a := all[r.IntN(len(all))]
		prefixes = append(prefixes, netip.PrefixFrom(a, a.BitLen()-r.IntN(5)))
	}
	return cidr.Of(prefixes...)
}

func TestMergeAndSubtractAgreeWithAddressByAddress(t *testing.T) {
	r := random(t)
	for range 5000 {
		a, b := randomList(r), randomList(r)
		merged, left := cidr.Merge(a, b), cidr.Subtract(a, b)
		for _, addr := range addresses() {
			inA, inB := a.Contains(addr), b.Contains(addr)
			if merged.Contains(addr) != (inA || inB) {
				t.Fatalf("merge of %q and %q is %q: wrong about %s", a, b, merged, addr)
			}
			if left.Contains(addr) != (inA && !inB) {
				t.Fatalf("%q without %q is %q: wrong about %s", a, b, left, addr)
			}
		}
	}
}

func TestMergedRangesNeitherOverlapNorTouch(t *testing.T) {
	r := random(t)
	for range 2000 {
		l := randomList(r)
		ranges := l.Ranges4()
		if r.IntN(2) == 0 {
			ranges = l.Ranges6()
		}
		for i := 1; i < len(ranges); i++ {
			if ranges[i].From().Compare(ranges[i-1].To().Next()) <= 0 {
				t.Fatalf("%q: %v and %v", l, ranges[i-1], ranges[i])
			}
		}
		if !l.Equal(l.Merged()) || l.Merged().String() != l.Merged().Merged().String() {
			t.Fatalf("%q merges to %q", l, l.Merged())
		}
	}
}

func TestAlgebraOfStars(t *testing.T) {
	everything := cidr.Everything()
	half := parse(t, "0.0.0.0/0")
	for _, tc := range []struct {
		what      string
		got, want cidr.List
	}{
		{"star and none", cidr.Merge(everything, cidr.List{}), everything},
		{"both families", cidr.Merge(half, parse(t, "::/0")), everything},
		{"star without star", cidr.Subtract(everything, everything), cidr.List{}},
		{"star without IPv4", cidr.Subtract(everything, half), parse(t, "::/0")},
		{"adjacent", parse(t, "10.0.0.0/25,10.0.0.128/25").Merged(), parse(t, "10.0.0.0/24")},
		{"nested", parse(t, "10.0.0.0/8,10.4.0.0/14").Merged(), parse(t, "10.0.0.0/8")},
		{"hole", cidr.Subtract(parse(t, "10.0.0.0/30"), parse(t, "10.0.0.1")), parse(t, "10.0.0.0/32,10.0.0.2/31")},
	} {
		if tc.got.String() != tc.want.String() {
			t.Errorf("%s: %q, want %q", tc.what, tc.got, tc.want)
		}
	}
}

func TestContainsJudgesMappedAddressesAsIPv4(t *testing.T) {
	l := parse(t, "10.0.0.0/8,fe80::/10")
	for addr, want := range map[string]bool{"10.1.2.3": true, "::ffff:10.1.2.3": true, "::ffff:11.1.2.3": false, "fe80::1%eth0": true, "::1": false} {
		if got := l.Contains(netip.MustParseAddr(addr)); got != want {
			t.Errorf("%s: %v", addr, got)
		}
	}
	if cidr.Everything().Contains(netip.Addr{}) {
		t.Error("the invalid address is in *")
	}
}

func TestFamiliesNamesWhatIsCovered(t *testing.T) {
	for in, want := range map[string][2]bool{"": {}, "*": {true, true}, "10.0.0.0/8": {true, false}, "::/0": {false, true}} {
		if v4, v6 := parse(t, in).Families(); v4 != want[0] || v6 != want[1] {
			t.Errorf("%q: %v %v", in, v4, v6)
		}
	}
}

func BenchmarkParse20000(b *testing.B) {
	var prefixes []netip.Prefix
	for i := range 20000 {
		prefixes = append(prefixes, netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 25))
	}
	text := cidr.Of(prefixes...).String()
	for b.Loop() {
		if _, _, err := cidr.Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}

func parse(t *testing.T, s string) cidr.List {
	t.Helper()
	l, _, err := cidr.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
