package cidr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/cidr"
)

func TestParseTakesListsAsPeoplePasteThem(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"", ""},
		{"  \t\n", ""},
		{"*", "*"},
		{" * ", "*"},
		{"*,*,", "*"},
		{"10.0.0.0/8", "10.0.0.0/8"},
		{"10.0.0.0/8, 172.16.0.0/12 ,\n192.168.0.0/16", "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"},
		{"10.0.0.0/8,", "10.0.0.0/8"},
		{"10.0.0.0/8,10.0.0.0/8", "10.0.0.0/8"},
		{"192.0.2.7", "192.0.2.7/32"},
		{"2001:DB8::1", "2001:db8::1/128"},
		{"2001:db8:0:0::/32,fe80::/10", "2001:db8::/32,fe80::/10"},
		{"0.0.0.0/0,::/0", "0.0.0.0/0,::/0"},
	} {
		got, warnings, err := cidr.Parse(tc.in)
		if err != nil || len(warnings) > 0 || got.String() != tc.want {
			t.Errorf("Parse(%q) = %q, %v, %v; want %q", tc.in, got, warnings, err, tc.want)
		}
	}
}

func TestHostBitsAreDroppedWithBothFormsShown(t *testing.T) {
	got, warnings, err := cidr.Parse("10.96.0.0/12, 10.0.0.1/24, 2001:db8::1/64, 10.0.0.0/24")
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != "10.96.0.0/12,10.0.0.0/24,2001:db8::/64" {
		t.Errorf("list %q", got)
	}
	want := []string{
		`element 2 "10.0.0.1/24": has host bits set; 10.0.0.1/24 means 10.0.0.0/24`,
		`element 3 "2001:db8::1/64": has host bits set; 2001:db8::1/64 means 2001:db8::/64`,
	}
	if len(warnings) != len(want) {
		t.Fatalf("warnings %v", warnings)
	}
	for i := range want {
		if warnings[i].String() != want[i] {
			t.Errorf("warning %q, want %q", warnings[i], want[i])
		}
	}
}

func TestEachRefusalSaysWhatToWrite(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{"a,,b", `element 2 "": empty; remove the extra comma`},
		{",10.0.0.0/8", `element 1 "": empty`},
		{",", `element 1 "": empty`},
		{"10.0.0.0/8,,", `element 2 "": empty`},
		{"*,10.0.0.0/8", `element 1 "*": stands for every address`},
		{"10.0.0.0/8,*", `element 2 "*": stands for every address`},
		{"10.*", `use a CIDR range`},
		{"10.0.0.0/8 172.16.0.0/12", `put a comma between`},
		{"10.0.0.0/8;172.16.0.0/12", `put a comma between`},
		{`"10.0.0.0/8"`, "quotation mark"},
		{"example.com", "names cannot be used"},
		{"10/8", "write all four numbers"},
		{"10.0.0.256", "256 is too large"},
		{"010.0.0.1", "leading zeros, which some programs read as octal; write 10.0.0.1"},
		{"10.0.0.0/08", "write 10.0.0.0/8"},
		{"10.0.0.0/33", `"33" is not a prefix length; use 0 to 32 for IPv4`},
		{"10.0.0.0/-1", `"-1" is not a prefix length`},
		{"10.0.0.0/", `"" is not a prefix length`},
		{"::/129", "use 0 to 128 for IPv6"},
		{"10.0.0.0/255.0.0.0", "write its length instead"},
		{"10.0.0.0-10.0.0.255", "write it in CIDR form"},
		{"fe80::1%eth0", "remove the zone"},
		{"[2001:db8::1]:443", "brackets"},
		{"::ffff:10.1.2.3/104", "matches no packet; write 10.0.0.0/8"},
		{"::ffff:10.1.2.3", "write 10.1.2.3/32"},
		{"::ffff:0.0.0.0/90", "write the IPv4 range"},
	} {
		got, _, err := cidr.Parse(tc.in)
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("Parse(%q) = %q, %v; want error with %q", tc.in, got, err, tc.want)
		}
		if !got.None() {
			t.Errorf("Parse(%q) gives a list beside its error: %q", tc.in, got)
		}
	}
}

func TestAllErrorsComeAtOnceWithTheirPosition(t *testing.T) {
	_, _, err := cidr.Parse("10.0.0.0/8,nope,10.0.0.0/33, ::1%lo ")
	lines := strings.Split(err.Error(), "\n")
	for i, want := range []string{`element 2 "nope": `, `element 3 "10.0.0.0/33": `, `element 4 "::1%lo": `} {
		if len(lines) != 3 || !strings.HasPrefix(lines[i], want) {
			t.Errorf("line %d of %q, want prefix %q", i, lines, want)
		}
	}
	var element *cidr.ElementError
	if !errors.As(err, &element) || element.Position != 2 {
		t.Errorf("first element error: %+v", element)
	}
}

func TestArrayElementsHoldOneRangeEach(t *testing.T) {
	if _, _, err := cidr.ParseElements([]string{"10.0.0.0/8,11.0.0.0/8"}); err == nil || !strings.Contains(err.Error(), "element of its own") {
		t.Errorf("comma inside an element: %v", err)
	}
	if _, _, err := cidr.ParseElements([]string{""}); err == nil {
		t.Error("an empty array element was accepted")
	}
	if l, _, err := cidr.ParseElements(nil); err != nil || !l.None() {
		t.Errorf("empty array: %q, %v", l, err)
	}
}

// What Parse accepts, it prints in a form that it accepts again, to the same list.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "*", "10.0.0.1/24, ::1,", "::ffff:1.2.3.4/100", "a,,b", "1.2.3.4/8/9", "fe80::1%eth0", "٣.1.1.1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, _, err := cidr.Parse(s)
		if err != nil {
			if !list.None() {
				t.Fatalf("%q: a list beside an error", s)
			}
			return
		}
		again, warnings, err := cidr.Parse(list.String())
		if err != nil || len(warnings) > 0 || again.String() != list.String() {
			t.Fatalf("%q printed as %q, read back as %q, %v, %v", s, list, again, warnings, err)
		}
	})
}
