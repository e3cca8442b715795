package grpc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// raw carries messages as bytes, so that no generated code is needed.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (raw) Name() string                       { return "raw" }

// pod is a namespace whose connections are redirected to a proxy in it, cabled to
// one with servers.
type pod struct{ ns, outside *lab.Namespace }

const (
	service              = "10.50.0.1" // where servers are
	proxyMark proxy.Mark = 0x51
)

func newPod(t *testing.T) pod {
	p := pod{labtest.New(t), labtest.New(t)}
	end := func(in *lab.Namespace, address string) lab.End {
		return lab.End{In: in, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(address)}}
	}
	must(t, lab.Connect(end(p.ns, "10.50.0.2/24"), end(p.outside, service+"/24")))
	must(t, p.ns.Do(func() error {
		return lab.AddRoute("eth0", netip.MustParsePrefix("0.0.0.0/0"), netip.MustParseAddr(service))
	}))
	c := rules.Default()
	c.Exemption, c.ExemptMark = rules.ExemptByMark, uint32(proxyMark)
	plan, err := rules.NewPlan(c)
	must(t, err)
	must(t, nft.Apply(p.ns.FD(), plan))
	return p
}

// dialMarked makes the proxy's connections, which the rules exempt.
func (p pod) dialMarked(ctx context.Context, to netip.AddrPort) (c *net.TCPConn, err error) {
	err = p.ns.Do(func() error {
		c, err = proxyMark.Dialer().DialTCP(ctx, "tcp", netip.AddrPort{}, to)
		return err
	})
	return c, err
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// serve is a gRPC server that sends every message back, and what it was told in its
// metadata: a status to end with, or to wait until it is given up.
func (p pod) serve(t *testing.T) string {
	l, err := p.outside.Listen("tcp", service+":0")
	must(t, err)
	s := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		told, _ := metadata.FromIncomingContext(stream.Context())
		if len(told["wait"]) > 0 {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		stream.SetTrailer(metadata.Pairs("x-trailer", "there"))
		if len(told["fail"]) > 0 {
			return status.Error(codes.FailedPrecondition, "as it was told: 100 %")
		}
		for {
			var m []byte
			if err := stream.RecvMsg(&m); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(&m); err != nil {
				return err
			}
		}
	}))
	go s.Serve(l)
	t.Cleanup(s.Stop)
	return l.Addr().String()
}

// dial is a client of a.test whose connections go through a proxy. timeout is the
// route's, "" for none.
func (p pod) dial(t *testing.T, server, timeout string) *grpc.ClientConn {
	ap := netip.MustParseAddrPort(server)
	yaml := fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  hosts: [a.test]
  ports: [{number: 80, name: p, protocol: GRPC}]
  resolution: STATIC
  endpoints: [{address: %s, ports: {p: %d}}]
`, ap.Addr(), ap.Port())
	if timeout != "" {
		yaml += fmt.Sprintf(`---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec: {hosts: [a.test], http: [{timeout: %s, route: [{destination: {host: a.test}}]}]}
`, timeout)
	}
	resources, issues := mesh.Decode("test.yaml", []byte(yaml), mesh.DecodeOptions{})
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	snapshot, issues := mesh.Build(resources, mesh.Options{})
	if issues.HasErrors() {
		t.Fatal(issues)
	}
	l, err := p.ns.Listen("tcp", "127.0.0.1:15001")
	must(t, err)
	governed, err := proxy.New(proxy.Config{
		Listeners: []*net.TCPListener{l.(*net.TCPListener)}, Dial: p.dialMarked,
		Log: slog.New(slog.DiscardHandler), DrainTimeout: time.Second,
	})
	must(t, err)
	governed.Update(snapshot)
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- governed.Serve(ctx) }()
	t.Cleanup(func() { stop(); <-served })
	c, err := grpc.NewClient("passthrough:///a.test:80", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return p.ns.Dial(ctx, "tcp", "203.0.113.1:80")
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

var bidi = &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}

func within(t *testing.T, limit time.Duration, told ...string) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return metadata.AppendToOutgoingContext(ctx, told...)
}

func TestMessagesGoBothWaysAsTheyCome(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.dial(t, p.serve(t), "")
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			stream, err := c.NewStream(within(t, time.Minute), bidi, "/test.Echo/Talk")
			if err != nil {
				t.Error(err)
				return
			}
			for j := range 50 {
				message := make([]byte, (i*j*137)%70_000)
				rand.Read(message)
				if err := stream.SendMsg(&message); err != nil {
					t.Error(err)
					return
				}
				var got []byte
				if err := stream.RecvMsg(&got); err != nil || !bytes.Equal(got, message) {
					t.Errorf("message %d of stream %d: %d bytes, %v", j, i, len(got), err)
					return
				}
			}
			stream.CloseSend()
			var none []byte
			if err := stream.RecvMsg(&none); err != io.EOF || len(stream.Trailer()["x-trailer"]) == 0 {
				t.Errorf("the end: %v %v", err, stream.Trailer())
			}
		})
	}
	all.Wait()
}

func call(t *testing.T, c *grpc.ClientConn, ctx context.Context) *status.Status {
	in, out := []byte("hello"), []byte(nil)
	return status.Convert(c.Invoke(ctx, "/test.Echo/Once", &in, &out))
}

func TestTheServersStatusArrives(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	s := call(t, p.dial(t, p.serve(t), ""), within(t, time.Minute, "fail", "1"))
	if s.Code() != codes.FailedPrecondition || s.Message() != "as it was told: 100 %" {
		t.Errorf("got %v", s)
	}
}

func TestARouteTimeoutIsDeadlineExceeded(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	s := call(t, p.dial(t, p.serve(t), "200ms"), within(t, time.Minute, "wait", "1"))
	if s.Code() != codes.DeadlineExceeded || s.Message() != "upstream request timeout" {
		t.Errorf("got %v", s)
	}
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	l, err := p.outside.Listen("tcp", service+":0")
	must(t, err)
	l.Close()
	if s := call(t, p.dial(t, l.Addr().String(), ""), within(t, time.Minute)); s.Code() != codes.Unavailable {
		t.Errorf("got %v", s)
	}
}

func TestACallThatIsGivenUpIsGivenUpAtTheServer(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	c := p.dial(t, p.serve(t), "")
	if s := call(t, c, within(t, 200*time.Millisecond, "wait", "1")); s.Code() != codes.DeadlineExceeded {
		t.Errorf("got %v", s)
	}
	if s := call(t, c, within(t, time.Minute)); s.Code() != codes.OK {
		t.Errorf("afterwards: %v", s)
	}
}
