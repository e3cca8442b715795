package proxy

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// inject draws what goes wrong with a request on purpose: whether it is held back, and
// whether it is answered as if it had failed. It is called once for each request. As
// in Envoy, whose fault filter stands before its router, a fault comes before all that
// the rule's destination would do, and its answer is not edited.
func (d *decision) inject(f *mesh.Fault) {
	delays, aborts := drawn(f.DelayShare), drawn(f.AbortShare)
	if aborts {
		*d = refusal(f.AbortStatus, "FI", "fault_filter_abort")
		d.body, d.grpc = "fault filter abort", f.AbortGRPC+1
	}
	if delays {
		d.delay = f.Delay
	}
}

// drawn decides for one request of those that a share of a million is meant for.
func drawn(share uint32) bool {
	return share > 0 && (share >= mesh.Million || rand.Uint32N(mesh.Million) < share)
}

// serve does what was decided about the request: now, or when it was held back for as
// long as it is to be.
func (h *httpConn) serve(st *state, d decision) bool {
	if d.delay > 0 && h.holdBack(d.delay) {
		return h.reply(*abandoned())
	}
	if d.unwritten {
		h.rewrite(&d)
	}
	if d.status != 0 {
		return h.reply(d.localReply)
	}
	return h.carry(st, d)
}

// holdBack waits. It ends early when the server stops, with the request still to be
// carried, and when the application has left, which it reports.
func (h *httpConn) holdBack(delay time.Duration) (left bool) {
	defer func(begun time.Time) { h.entry.heldBack(begun) }(time.Now())
	s := h.c.server
	return h.c.whileHere(s.life, func(ctx context.Context) { s.wait(ctx, delay) })
}

// holdBack is httpConn's for HTTP/2: false says that the request has ended meanwhile.
func (r *h2Request) holdBack(delay time.Duration) bool {
	defer r.entry.heldBack(time.Now())
	ctx, stop := context.WithCancel(r.c.server.life)
	defer stop()
	if !r.hold(nil, stop) {
		return false
	}
	defer r.hold(nil, nil)
	r.c.server.wait(ctx, delay)
	return r.ending() == running
}

// heldBack notes that a request was, from begun until now: its timeouts count from
// here.
func (e *entry) heldBack(begun time.Time) {
	e.delayed = true
	e.waited = time.Since(begun)
}

// onward is when the request went on to its destination.
func (e *entry) onward() time.Time { return e.start.Add(e.waited) }

// flagsBeforeDelay are those that Envoy lists before DI.
var flagsBeforeDelay = []string{"LH", "UH", "UT", "LR", "UR", "UF", "UC", "UO", "NR"}

// withDelay adds DI to a request's flags, in Envoy's order.
func withDelay(flags string) string {
	if flags == "" || flags == "-" {
		return "DI"
	}
	all := strings.Split(flags, ",")
	at := 0
	for at < len(all) && slices.Contains(flagsBeforeDelay, all[at]) {
		at++
	}
	return strings.Join(slices.Insert(all, at, "DI"), ",")
}
