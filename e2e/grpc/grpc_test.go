package grpc_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/sluice-cni/sluice/e2e/egress"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// raw carries messages as bytes, so that no generated code is needed.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error)      { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }
func (raw) Name() string                       { return "raw" }

// pod is an egress.Pod with a gRPC server at a.test.
type pod struct{ *egress.Pod }

func newPod(t *testing.T) pod { return pod{egress.New(t, egress.Options{})} }

const port = "50051"

// serve is a gRPC server that sends every message back, and what it was told in its
// metadata: a status to end with, to wait until it is given up, or to have no time for
// as many calls as it is told.
func (p pod) serve() {
	var busy atomic.Int32
	s := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		told, _ := metadata.FromIncomingContext(stream.Context())
		if len(told["wait"]) > 0 {
			<-stream.Context().Done()
			return stream.Context().Err()
		}
		if n := len(told["busy"]); n > 0 && busy.Add(1) <= int32(n) {
			return status.Error(codes.Unavailable, "busy")
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
	for _, a := range p.Net.Name("a.test") {
		go s.Serve(p.Net.Listen(net.JoinHostPort(a.String(), port)))
	}
	p.T.Cleanup(s.Stop)
}

// dial is a client of a.test. timeout is the route's, "" for none.
func (p pod) dial(timeout string) *grpc.ClientConn {
	yaml := `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec: {hosts: [a.test], ports: [{number: ` + port + `, name: p, protocol: GRPC}], resolution: DNS}
`
	if timeout != "" {
		yaml += `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec: {hosts: [a.test], http: [{timeout: ` + timeout + `, route: [{destination: {host: a.test}}]}]}
`
	}
	p.Apply(yaml)
	at := net.JoinHostPort(p.Net.Lookup("a.test", "IPv4"), port)
	c, err := grpc.NewClient("passthrough:///a.test:"+port, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{})),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return p.NS.Dial(ctx, "tcp", at) }))
	egress.Must(p.T, err)
	p.T.Cleanup(func() { c.Close() })
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
	p.serve()
	c := p.dial("")
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
	p.serve()
	s := call(t, p.dial(""), within(t, time.Minute, "fail", "1"))
	if s.Code() != codes.FailedPrecondition || s.Message() != "as it was told: 100 %" {
		t.Errorf("got %v", s)
	}
}

func TestARouteTimeoutIsDeadlineExceeded(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.serve()
	s := call(t, p.dial("200ms"), within(t, time.Minute, "wait", "1"))
	if s.Code() != codes.DeadlineExceeded || s.Message() != "upstream request timeout" {
		t.Errorf("got %v", s)
	}
}

// A server that is busy says so in an answer that is nothing but its head. Istio's
// default is two more tries.
func TestACallThatABusyServerRefusesIsTriedAgain(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.serve()
	c := p.dial("")
	if s := call(t, c, within(t, time.Minute, "busy", "1", "busy", "2")); s.Code() != codes.OK {
		t.Errorf("twice busy: %v", s)
	}
	p = newPod(t)
	p.serve()
	c = p.dial("")
	if s := call(t, c, within(t, time.Minute, "busy", "1", "busy", "2", "busy", "3")); s.Code() != codes.Unavailable || s.Message() != "busy" {
		t.Errorf("three times busy: %v", s)
	}
}

func TestAServerThatIsNotThereIsUnavailable(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	if s := call(t, p.dial(""), within(t, time.Minute)); s.Code() != codes.Unavailable {
		t.Errorf("got %v", s)
	}
}

func TestACallThatIsGivenUpIsGivenUpAtTheServer(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.serve()
	c := p.dial("")
	if s := call(t, c, within(t, 200*time.Millisecond, "wait", "1")); s.Code() != codes.DeadlineExceeded {
		t.Errorf("got %v", s)
	}
	if s := call(t, c, within(t, time.Minute)); s.Code() != codes.OK {
		t.Errorf("afterwards: %v", s)
	}
}
