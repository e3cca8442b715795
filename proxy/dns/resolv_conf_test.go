package dns

import (
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
)

func TestOnlyShortNamesAreSearched(t *testing.T) {
	t.Parallel()
	f := newFake(t, write(t, "search one.test two.test.\nnameserver 192.0.2.1\noptions ndots:5\n"))
	var asked []string
	f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
		if qtype == dns.TypeA {
			asked = append(asked, name)
		}
		if name == "db.two.test" {
			return records(10, "192.0.2.10")(name, qtype)
		}
		return rcode(dns.RcodeNameError)(name, qtype)
	})
	f.want(t, "a.b", "", 1)
	if _, err := f.Lookup(t.Context(), "db"); err != nil {
		t.Error(err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if want := []string{"a.b", "db", "db.one.test", "db.two.test"}; !slices.Equal(asked, want) {
		t.Errorf("asked %v, want %v", asked, want)
	}
}

func TestAChangeOfResolvConfIsFollowed(t *testing.T) {
	t.Parallel()
	first, second := server(t, zone("192.0.2.1")), server(t, zone("192.0.2.2"))
	conf := write(t, "nameserver "+first+"\n")
	r := New(Config{ResolvConf: conf, Hosts: write(t, "")})
	if got, err := r.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.1" || err != nil {
		t.Fatalf("%v %v", got, err)
	}
	os.WriteFile(conf, []byte("# changed\nnameserver "+second+"\n"), 0o644)
	await.True(t, "the new server is asked", func() bool { got, _ := r.Lookup(t.Context(), "a.test"); return join(got) == "192.0.2.2" })
}

func TestResolvConfIsReadAsTheCLibraryDoes(t *testing.T) {
	t.Parallel()
	s := readSettings(write(t, "; comment\nnameserver 192.0.2.1\nnameserver rubbish\nnameserver 2001:db8::1\nnameserver fe80::1%lo\nnameserver 192.0.2.4\nsearch a b\ndomain c\noptions timeout:90 attempts:9 rotate ndots:x\n"))
	if want := []string{"192.0.2.1:53", "[2001:db8::1]:53", "[fe80::1%lo]:53"}; !slices.Equal(s.servers, want) {
		t.Errorf("servers %v", s.servers)
	}
	if !slices.Equal(s.search, []string{"c"}) || s.timeout != 30*time.Second || s.attempts != 5 {
		t.Errorf("%+v", s)
	}
	if s := readSettings("/nowhere"); !slices.Equal(s.servers, []string{"127.0.0.1:53"}) || s.attempts != 2 {
		t.Errorf("without a file: %+v", s)
	}
}

// Servers that somebody names are what a resolv.conf with them would say.
func TestAFixedResolvConfIsOneOfThoseLines(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ servers, search, options []string }{
		{[]string{"192.0.2.1", "rubbish", "2001:db8::1", "192.0.2.3", "192.0.2.4"}, []string{"A.test", "b.test."}, []string{"ndots:5", "timeout:2", "attempts:x"}},
		{nil, nil, nil},
	} {
		var text strings.Builder
		for _, s := range tc.servers {
			fmt.Fprintln(&text, "nameserver", s)
		}
		fmt.Fprintf(&text, "search %s\noptions %s\n", strings.Join(tc.search, " "), strings.Join(tc.options, " "))
		got, want := FixedResolvConf(tc.servers, tc.search, tc.options).Setup(), NewResolvConf(write(t, text.String())).Setup()
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
