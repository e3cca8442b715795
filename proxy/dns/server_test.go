package dns

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// server answers on port 53 of a loopback address, over UDP and TCP.
func server(t *testing.T, handle dns.HandlerFunc) string {
	t.Helper()
	addr := fmt.Sprintf("127.0.53.%d", nextServer.Add(1))
	packets, err := net.ListenPacket("udp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", addr+":53")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{PacketConn: packets, Handler: handle}, {Listener: listener, Handler: handle}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go s.ActivateAndServe()
		<-started
		t.Cleanup(func() { s.Shutdown() })
	}
	return addr
}

var nextServer atomic.Int32

func zone(addr string) dns.HandlerFunc {
	return func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = []dns.RR{record(strings.TrimSuffix(q.Question[0].Name, "."), 1, addr)}
		}
		w.WriteMsg(m)
	}
}

func real(t *testing.T, conf string) *Resolver {
	return New(Config{ResolvConf: write(t, conf), Hosts: write(t, "")})
}
