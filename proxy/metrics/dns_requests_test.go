package metrics

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/dnsproxy"
)

const database = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: db, namespace: shop}
spec:
  hosts: [db.test]
  addresses: [192.0.2.7]
  ports: [{number: 5432, name: db, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 192.0.2.8}]
`

// serveDNS answers on loopback, db.test from the registry and all else from a
// resolver that knows every name, until the test ends. It gives the address for each
// transport.
func serveDNS(t *testing.T, who mesh.Workload, observe func(dnsproxy.Event)) map[string]string {
	t.Helper()
	resolv := filepath.Join(t.TempDir(), "resolv.conf")
	if err := os.WriteFile(resolv, []byte("nameserver 192.0.2.53\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	udp, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	server, err := dnsproxy.New(dnsproxy.Config{
		Packets: []*net.UDPConn{udp}, Streams: []*net.TCPListener{tcp},
		Workload: who, ResolvConf: resolv, Observe: observe,
		Exchange: func(_ context.Context, q *mdns.Msg, _ string) (*mdns.Msg, error) {
			answer := new(mdns.Msg).SetReply(q)
			rr, err := mdns.NewRR(q.Question[0].Name + " 60 IN A 192.0.2.1")
			answer.Answer = []mdns.RR{rr}
			return answer, err
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	resources, issues := mesh.Decode("test.yaml", []byte(database), mesh.DecodeOptions{})
	snapshot, more := mesh.Build(resources, mesh.Options{})
	if issues = append(issues, more...); issues.HasErrors() {
		t.Fatal(issues)
	}
	server.Update(snapshot)
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return map[string]string{"udp": udp.LocalAddr().String(), "tcp": tcp.Addr().String()}
}

func TestWhatAWorkloadAsksIsCountedByTypeCodeAndSource(t *testing.T) {
	t.Parallel()
	m := New("test")
	who := mesh.Workload{Namespace: "shop", Name: "cart"}
	at := serveDNS(t, who, m.Workload(who).ObserveDNS)
	for _, q := range []struct {
		network, name string
		qtype         uint16
	}{
		{"udp", "db.test.", mdns.TypeA}, {"udp", "db.test.", mdns.TypeA}, {"tcp", "db.test.", mdns.TypeAAAA},
		{"udp", "x.test.", mdns.TypeA}, {"udp", "x.test.", mdns.TypeA},
		{"udp", "x.test.", 65281}, {"udp", "x.test.", 65282}, // of private use (RFC 6895)
		{"tcp", "x.test.", mdns.TypeAXFR},
	} {
		client := mdns.Client{Net: q.network, Timeout: 10 * time.Second}
		if _, _, err := client.Exchange(new(mdns.Msg).SetQuestion(q.name, q.qtype), at[q.network]); err != nil {
			t.Fatal(q, err)
		}
	}
	all := series(t, m)
	const asked, took = "sluice_dns_requests_total{", "sluice_dns_request_duration_seconds{"
	const own = ",source_workload=cart,source_workload_namespace=shop,"
	for key, want := range map[string]float64{
		asked + "rcode=NOERROR,source=registry" + own + "transport=udp,type=A}":     2,
		asked + "rcode=NOERROR,source=registry" + own + "transport=tcp,type=AAAA}":  1,
		asked + "rcode=NOERROR,source=upstream" + own + "transport=udp,type=A}":     1,
		asked + "rcode=NOERROR,source=cache" + own + "transport=udp,type=A}":        1,
		asked + "rcode=NOERROR,source=upstream" + own + "transport=udp,type=other}": 2,
		asked + "rcode=REFUSED,source=malformed" + own + "transport=tcp}":           1,
		took + "source=registry" + own[:len(own)-1] + "}":                           3,
		took + "source=upstream" + own[:len(own)-1] + "}":                           3,
		took + "source=cache" + own[:len(own)-1] + "}":                              1,
	} {
		if all[key] != want {
			t.Errorf("%s is %v, want %v", key, all[key], want)
		}
	}
	if keys := append(about(all, asked), about(all, took)...); len(keys) != 9 || t.Failed() {
		t.Errorf("%q", keys)
	}
}

func TestCountingADNSQueryAllocatesNothing(t *testing.T) {
	w := New("test").Workload(mesh.Workload{})
	e := dnsproxy.Event{Transport: "udp", Type: "A", Source: dnsproxy.FromCache, Rcode: "NOERROR", Duration: time.Millisecond}
	w.ObserveDNS(e)
	if n := testing.AllocsPerRun(1000, func() { w.ObserveDNS(e) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestALatencyIsInTheFirstBucketThatHoldsIt(t *testing.T) {
	t.Parallel()
	for i, bound := range latencyBounds {
		exactly := time.Duration(bound * float64(time.Second))
		for d, want := range map[time.Duration]int{exactly: i, exactly + time.Microsecond: i + 1} {
			var l latencies
			l.observe(d)
			if l.buckets[want].Load() != 1 {
				t.Errorf("%v is not in bucket %d", d, want)
			}
		}
	}
	var l latencies
	for _, d := range []time.Duration{-time.Second, 0, time.Hour} {
		l.observe(d)
	}
	count, sum, upTo := l.read()
	if count != 3 || sum != 3600 || upTo[latencyBounds[0]] != 2 || upTo[latencyBounds[len(latencyBounds)-1]] != 2 {
		t.Error(count, sum, upTo)
	}
}
