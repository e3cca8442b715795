package dns

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"

	"github.com/miekg/dns"
)

func TestLookupsOfOneNameAreOneQuestion(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	release := make(chan struct{})
	f.answers(func(name string, qtype uint16) (*dns.Msg, error) {
		<-release
		return records(10, "192.0.2.10")(name, qtype)
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if got, err := f.Lookup(t.Context(), "a.test"); len(got) != 1 || err != nil {
				t.Errorf("%v %v", got, err)
			}
		})
	}
	impatient, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.Lookup(impatient, "a.test"); !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up got %v", err)
	}
	close(release)
	all.Wait()
	if n := f.asked.Load(); n != 1 {
		t.Errorf("%d questions", n)
	}
}

func TestTheHostsFileComesFirstAndItsChangesCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		hosts := write(t, "192.0.2.20 A.test b.test # c.test\nrubbish\n2001:db8::1 a.test\n")
		f := newFake(t, write(t, "nameserver 192.0.2.1\n"), hosts)
		f.answers(rcode(dns.RcodeNameError))
		f.want(t, "a.test", "192.0.2.20 2001:db8::1", 0)
		f.want(t, "c.test", "", 1)
		os.WriteFile(hosts, []byte("192.0.2.21 a.test and.more\n"), 0o644)
		pass(hostsTTL + maxJitter)
		f.want(t, "a.test", "192.0.2.21", 1)
	})
}

func TestAnAddressIsItsOwnAnswer(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.want(t, "192.0.2.5", "192.0.2.5", 0)
	f.want(t, "2001:db8::5", "2001:db8::5", 0)
}
