package proxy

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/http1"
	"github.com/sluice-cni/sluice/proxy/http2"
)

// tries are the tries of one request: where the next one goes, and whether there is
// one. Its policy is the route's, its behaviour Envoy's: what the server never saw is
// sent again after a connection failure, and once it was sent, only what the policy
// names; nothing once a byte of an answer has gone to the application.
type tries struct {
	server *Server
	u      *upstream
	to     *mesh.Cluster
	policy *mesh.RetryPolicy
	asked  asked
	key    poolKey
	draw   uint32 // of the next one's endpoint

	retries uint32 // that were decided on
	resent  uint32 // how often an idle HTTP/1.1 connection ended under it
	sent    bool   // bytes of the request have gone to a server
	final   bool   // there is no other try, whatever becomes of this one
	holding bool   // a retry is counted by the upstream
	flag    string // why there is none though the policy wanted one: URX or UO
}

// begin is called once for each request.
func (t *tries) begin(c *connection, u *upstream, d *decision, host []byte) {
	a := c.askedFor(d.cluster, host)
	*t = tries{server: c.server, u: u, to: d.cluster, policy: d.retry(), asked: a,
		key: poolKey{sni: sniFor(d.cluster, a, d.sentHost(host))}, draw: u.draw(d.cluster)}
}

// retry is the route's policy.
func (d *decision) retry() *mesh.RetryPolicy {
	if d.route == nil || d.route.Action.Retry == nil {
		return mesh.DefaultRetry
	}
	return d.route.Action.Retry
}

// choose picks the endpoint of the next try into t.key.
func (t *tries) choose(ctx context.Context) (err error) {
	t.key.addr, err = t.u.endpoint(ctx, t.to, t.asked, t.draw)
	return err
}

// failed says whether there is to be another try after one that ended without an
// answer.
func (t *tries) failed(f mesh.Failure) bool {
	return f != 0 && t.policy.Failed(f, !t.sent) && t.spend()
}

// settled says that there is no other try, whatever comes.
func (t *tries) settled() bool { return t.final || t.policy.Attempts == 0 }

// wantsAgain says that the policy has another try for an answer.
func (t *tries) wantsAgain(head *http2.Head) bool {
	if t.settled() {
		return false
	}
	grpc, limited := inHead(head.Fields)
	return t.policy.Answered(head.Status, grpc, limited)
}

// resends says that the request goes out once more at once, since the idle HTTP/1.1
// connection that it went on has ended: once in each try. A request that makes its
// server close would else be sent on each that others have used, one after the other.
func (t *tries) resends() bool {
	if !t.mayResend() {
		return false
	}
	t.resent++
	return true
}

func (t *tries) mayResend() bool { return t.resent <= t.retries }

// spend counts a retry that the policy wants, and says whether it may be.
func (t *tries) spend() bool {
	t.end()
	switch {
	case t.settled():
		return false
	case t.retries >= t.policy.Attempts:
		t.flag = "URX"
		return false
	case !t.u.mayRetry():
		t.flag = "UO"
		return false
	}
	t.holding = true
	t.retries++
	t.server.observe(Event{Kind: Retried, Cluster: t.to})
	if !t.policy.AnyHost {
		t.asked = t.asked.without(t.key.addr)
	}
	t.draw = t.server.random() // not the next: those who come meanwhile are there already
	return true
}

// claim is spend for a request whose body may still be on its way: it stops to be sent
// again.
func (t *tries) claim(body *replay) bool {
	if !body.whole() || !t.spend() {
		return false
	}
	if !body.claim() { // more of it has gone meanwhile than is kept
		t.end()
		return false
	}
	return true
}

// end gives back what spend has taken: the retry under way has its outcome.
func (t *tries) end() {
	if t.holding {
		t.holding = false
		t.u.retryEnded()
	}
}

// inHead1 is what an answer's head says beside its status: a grpc-status, or NoStatus,
// and that it is limited.
func inHead1(fields []http1.Field) (grpc int, limited bool) {
	grpc = mesh.NoStatus
	for i := range fields {
		f := &fields[i]
		switch len(f.Name) {
		case len("grpc-status"):
			if f.ID == http1.Other && http1.EqualFold(f.Name, "grpc-status") {
				grpc = grpcCode(string(f.Value))
			}
		case len("x-envoy-ratelimited"):
			limited = limited || http1.EqualFold(f.Name, "x-envoy-ratelimited")
		}
	}
	return grpc, limited
}

// inHead is inHead1 for an answer in the form of HTTP/2.
func inHead(fields []http2.Field) (grpc int, limited bool) {
	grpc = mesh.NoStatus
	for i := range fields {
		switch f := &fields[i]; f.Name {
		case "grpc-status":
			grpc = grpcCode(f.Value)
		case "x-envoy-ratelimited":
			limited = true
		}
	}
	return grpc, limited
}

// flags adds to those of a request why it was not tried again.
func (t *tries) flags(others string) string {
	switch {
	case t.flag == "":
		return others
	case others == "" || others == "-":
		return t.flag
	}
	return others + "," + t.flag
}

// conclude makes r the reply to a request that there are no more tries for.
func (t *tries) conclude(r *localReply) *localReply {
	t.end()
	if r.reason != "" {
		r.body = resetBody
		if t.retries > 0 {
			r.body += "retried and the latest "
		}
		r.body += "reset reason: " + r.reason
	}
	r.flags = t.flags(r.flags)
	return r
}

// wait is the back-off before a retry. It ends with ctx, whose error it returns, and
// when the server stops. One that begins after that is short, but is one: a server that
// fails at once is not asked as fast as it can.
func (t *tries) wait(ctx context.Context) error {
	s, limit := t.server, t.policy.Backoff(t.retries)
	select {
	case <-s.stopping:
	default:
		return s.pause(ctx, limit)
	}
	return sleep(ctx, s.part(min(limit, mesh.DefaultRetry.Backoff(1))), nil)
}

// pause waits a random part of limit, as wait does.
func (s *Server) pause(ctx context.Context, limit time.Duration) error {
	return s.wait(ctx, s.part(limit))
}

func (s *Server) part(limit time.Duration) time.Duration {
	return time.Duration(s.draw() * float64(limit))
}

// wait ends after d, or when ctx does, whose error it returns, or when the server
// stops: what is left of the time is for the request.
func (s *Server) wait(ctx context.Context, d time.Duration) error { return sleep(ctx, d, s.stopping) }

// sleep ends after d, with the channel, or with ctx, whose error it returns.
func sleep(ctx context.Context, d time.Duration, early <-chan struct{}) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-early:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reach makes a connection, with the retries that the policy has for those that cannot
// be made.
func reach[T any](ctx context.Context, t *tries, e *entry, open func(context.Context, poolKey) (T, error)) (T, *localReply) {
	var none T
	for {
		err := t.choose(ctx)
		if err != nil {
			return none, connectFailure(e, err, ctx)
		}
		e.failure, e.transportFailure = nil, "" // of the try before
		made, err := open(ctx, t.key)
		if err == nil {
			return made, nil
		}
		e.upstreamHost = t.key.addr
		r := connectFailure(e, err, ctx)
		if r.failure == mesh.NoConnection {
			t.u.report(t.key.addr, unreached, err)
		}
		if !t.failed(r.failure) {
			return none, r
		}
		if t.wait(ctx) != nil {
			return none, connectFailure(e, err, ctx)
		}
	}
}

// A TCP connection has Istio's default tries: its route has no policy.
const connectTries = 3

// random draws for weighted choices.
func (s *Server) random() uint32 { return rand.Uint32() }
