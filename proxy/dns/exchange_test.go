package dns

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/proxy/dial"
)

func TestATruncatedAnswerIsAskedForAgainOverTCP(t *testing.T) {
	t.Parallel()
	many := func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if _, udp := w.RemoteAddr().(*net.UDPAddr); udp {
			m.Truncated = true
		} else if q.Question[0].Qtype == dns.TypeA {
			for i := range 200 {
				m.Answer = append(m.Answer, record("a.test", 60, fmt.Sprintf("192.0.2.%d", i)))
			}
		}
		w.WriteMsg(m)
	}
	r := real(t, "nameserver "+server(t, many)+"\n")
	for how, exchange := range map[string]Exchange{
		"a dialer": Through(nil), "sockets": ThroughSockets(dial.Here), "sockets of this process": ThroughSockets(nil),
	} {
		r.exchange = exchange
		got, err := r.Lookup(t.Context(), "a.test")
		if len(got) != 200 || err != nil {
			t.Errorf("through %s: %d addresses, %v", how, len(got), err)
		}
		r.cache = map[string]*entry{}
	}
}

func TestAServerThatNeverAnswersAAAAHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	answer := zone("192.0.2.10")
	addr := server(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if q.Question[0].Qtype == dns.TypeA {
			answer(w, q)
		}
	})
	start := time.Now()
	got, err := real(t, "nameserver "+addr+"\noptions timeout:30\n").Lookup(t.Context(), "a.test")
	if join(got) != "192.0.2.10" || err != nil || time.Since(start) > 29*time.Second {
		t.Errorf("%v %v after %v", got, err, time.Since(start))
	}
}

func TestTheNextServerIsAskedWhereOneIsSilentOrFails(t *testing.T) {
	t.Parallel()
	silent := server(t, func(dns.ResponseWriter, *dns.Msg) {})
	failing := server(t, func(w dns.ResponseWriter, q *dns.Msg) { w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)) })
	good := server(t, zone("192.0.2.10"))
	r := real(t, fmt.Sprintf("nameserver %s\nnameserver %s\nnameserver %s\noptions timeout:1\n", silent, failing, good))
	if got, err := r.Lookup(t.Context(), "a.test"); join(got) != "192.0.2.10" || err != nil {
		t.Errorf("%v %v", got, err)
	}
}

func TestAnAnswerToAnotherQuestionIsNotTaken(t *testing.T) {
	t.Parallel()
	addr := server(t, func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Question[0].Name = "other.test."
		m.Answer = []dns.RR{record("other.test", 60, "192.0.2.66")}
		w.WriteMsg(m)
	})
	if got, err := real(t, "nameserver "+addr+"\noptions timeout:1 attempts:1\n").Lookup(t.Context(), "a.test"); err == nil {
		t.Errorf("took %v", got)
	}
}

// Not parallel: goroutines are counted.
func TestNoGoroutineIsLeftAfterLookups(t *testing.T) {
	silent := server(t, func(dns.ResponseWriter, *dns.Msg) {})
	good := server(t, zone("192.0.2.10"))
	before := runtime.NumGoroutine()
	bad := real(t, "nameserver "+silent+"\noptions timeout:1 attempts:1\n")
	r := real(t, "nameserver "+good+"\n")
	var all sync.WaitGroup
	for i := range 50 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
			defer cancel()
			bad.Lookup(ctx, fmt.Sprintf("n%d.test", i))
			r.Lookup(t.Context(), fmt.Sprintf("n%d.test", i))
		})
	}
	all.Wait()
	await.True(t, "the goroutines end", func() bool { return runtime.NumGoroutine() <= before })
}
