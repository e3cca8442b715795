package proxy

import (
	"context"
	"errors"
	"io"
	"strconv"
	"time"

	"github.com/sluice-cni/sluice/proxy/http2"
)

// maxFresh bounds how often a request is sent again because nothing of it had
// been processed: a server that refuses every stream is given up on.
const maxFresh = 8

// forward sends the request to its cluster and the answer back.
func (r *h2Request) forward(st *state, d *decision) {
	r.lead(st, d)
	defer r.body.again.settle()
	defer r.tries.end()
	defer r.alarm.stop()
	v, h2 := begins, speaksHTTP2(d.cluster, true)
	for fresh := 0; v > keeps; {
		var failure *localReply
		if v == retries {
			failure = r.backOff()
		}
		var x exchange
		if failure == nil {
			x, failure = r.acquire(r.tries.u, r.outgoing(), h2, h2 || v != resends)
		}
		if failure == nil {
			v, failure = r.exchange(x, fresh < maxFresh && (h2 || r.tries.mayResend()))
		}
		if failure != nil {
			r.reply(*r.tries.conclude(failure))
			return
		}
		if v == resends {
			fresh++
			r.tries.resent++
		}
	}
}

// lead begins the tries of a request to where the decision leads.
func (r *h2Request) lead(st *state, d *decision) {
	r.tries.begin(r.c, st.upstream(d.cluster), d, r.host)
	r.clock.begin(d.timeout(), r.tries.policy.PerTry)
	r.body.again.begin(&r.c.server.kept, r.replayLimit(d))
	if r.body.gather(); r.body.whole {
		r.clock.sent(r.entry.onward())
	}
}

// replayLimit is how much of the request's body is kept for other tries.
func (r *h2Request) replayLimit(d *decision) int {
	// What is longer would be given up in the end.
	if r.head.ContentLength <= maxReplay && r.tries.policy.Repeats(speaksHTTP2(d.cluster, true), r.entry.grpc) {
		return maxReplay
	}
	return minReplay
}

// backOff waits before another try, and returns what to reply when the request ends
// meanwhile.
func (r *h2Request) backOff() *localReply {
	ctx, stop := r.waiting()
	defer stop()
	err := r.tries.wait(ctx)
	switch {
	case r.ending() != running || errors.Is(err, context.Canceled):
		return r.gaveUp()
	case err != nil:
		return routeTimeout()
	}
	return nil
}

// exchange sends the request on x and its answer back. mayRepeat: the request may be
// sent again at once where nothing of it was looked at.
func (r *h2Request) exchange(x exchange, mayRepeat bool) (verdict, *localReply) {
	r.entry.tried(x.ends())
	if !r.hold(x, nil) {
		x.cancel()
	}
	r.clock.try(time.Now(), &r.alarm)
	err := x.flush()
	r.tries.sent = r.tries.sent || !x.untouched()
	if err == nil {
		r.body.start(r, x)
	}
	var head http2.Head
	if err == nil {
		head, err = r.answer(x)
	}
	if err != nil {
		return r.broke(x, err, mayRepeat)
	}
	r.tries.u.reportAnswer(r.entry.upstreamHost, &head, r.entry.grpc)
	if r.tries.wantsAgain(&head) && r.again() {
		r.hold(nil, nil)
		r.body.halt(x)
		x.finish(drain(x))
		return retries, nil
	}
	r.settle()
	err = r.sendAnswer(x, head)
	r.hold(nil, nil)
	r.body.halt(x)
	x.finish(err == nil)
	r.finish(err)
	return closes, nil
}

// again counts another try, and says whether there is one.
func (r *h2Request) again() bool { return r.tries.claim(&r.body.again) }

// settle begins the answer to the application: there is no other try from here on.
func (r *h2Request) settle() {
	r.tries.end()
	r.clock.answered()
	r.body.again.settle()
}

// broke ends a try whose answer never began.
func (r *h2Request) broke(x exchange, err error, mayRepeat bool) (verdict, *localReply) {
	late, fresh := r.clock.overdue(time.Now()), x.fresh(err)
	r.hold(nil, nil)
	r.body.halt(x)
	x.finish(false)
	repeats := r.body.again.whole() && r.ending() == running && r.body.failed == nil
	if fresh && mayRepeat && repeats && late == inTime {
		return resends, nil
	}
	failure := r.failure(err, late)
	r.tries.u.reportFailure(&r.entry, failure, late)
	if repeats && r.tries.failed(failure.failure) {
		return retries, nil
	}
	return closes, failure
}

// answer waits for the final head; interim ones are passed on.
func (r *h2Request) answer(x exchange) (http2.Head, error) {
	for {
		h, err := x.answer()
		if err != nil || h.Status >= 200 {
			return h, err
		}
		fields := append([]http2.Field{{Name: ":status", Value: strconv.Itoa(h.Status)}}, h.Fields...)
		r.tries.final = true // as in Envoy: another server would say it again, or not
		if r.down.WriteHead(fields, false) == nil {
			r.down.Flush()
		}
	}
}

// sendAnswer passes the answer on.
func (r *h2Request) sendAnswer(x exchange, head http2.Head) error {
	r.down.OnIdle(nil)
	r.entry.status = head.Status
	over := x.over()
	fields := r.answerFields(&head)
	r.entry.headSent = headSize(fields)
	r.entry.keepStatus(head.Fields)
	if err := r.down.WriteHead(fields, over); err != nil {
		return &writeError{err}
	}
	if over {
		r.down.Flush()
		return nil
	}
	if !x.ready() {
		r.down.Flush()
	}
	for {
		data, last, err := x.take()
		switch {
		case err == io.EOF:
			return r.endAnswer(x.trailers())
		case err != nil:
			return err
		}
		r.entry.sent += int64(len(data))
		r.sent.add(data)
		if err := r.down.Write(data, last); err != nil {
			return &writeError{err}
		}
		x.consumed(len(data))
		if last || !x.ready() {
			r.down.Flush()
		}
		if last {
			return nil
		}
	}
}

func (r *h2Request) endAnswer(trailers []http2.Field) error {
	var err error
	r.entry.keepStatus(trailers)
	if len(trailers) > 0 {
		err = r.down.WriteHead(trailers, true)
	} else {
		err = r.down.Write(nil, true)
	}
	r.down.Flush()
	if err != nil {
		return &writeError{err}
	}
	return nil
}

// answerFields is the answer's head as the application gets it.
func (r *h2Request) answerFields(head *http2.Head) []http2.Field {
	fields := make([]http2.Field, 0, len(head.Fields)+4)
	fields = append(fields, http2.Field{Name: ":status", Value: statusText(head.Status)})
	for i := range head.Fields {
		if f := &head.Fields[i]; f.Name != "server" {
			fields = append(fields, *f)
		}
	}
	r.entry.serviceTime = time.Since(r.entry.onward())
	fields = append(fields, http2.Field{Name: serviceTimeField, Value: strconv.FormatInt(r.entry.serviceTime.Milliseconds(), 10)})
	return complete(fields, r.edits.Response)
}

// failure is the reply to a request whose answer never began, nil when nobody is
// there to be answered.
func (r *h2Request) failure(err error, late overdueBy) *localReply {
	switch {
	case r.ending() != running || r.body.failed != nil:
		return r.gaveUp()
	case late == tryOverdue:
		return tryTimeout()
	}
	return upstreamFailure(&r.entry, err, r.streamTimeout())
}

func (r *h2Request) streamTimeout() *localReply {
	status := 504
	if !r.body.whole {
		status = 408
	}
	return &localReply{status: status, body: "stream timeout", flags: "SI", details: "stream_idle_timeout"}
}

// gaveUp is the reply to a request that was ended from outside. Its status is 0
// where the application has left: nothing is sent then.
func (r *h2Request) gaveUp() *localReply {
	switch r.ending() {
	case timedOut:
		return routeTimeout()
	case idled:
		return r.streamTimeout()
	}
	left := &localReply{flags: "DC", details: "downstream_remote_disconnect"}
	var bad *http2.StreamError
	switch err := r.down.Err(); {
	case errors.Is(err, http2.ErrIdle):
		left.flags, left.details = "SI", "stream_idle_timeout"
	case errors.Is(err, http2.ErrNoMemory):
		r.entry.failure, r.entry.refusal = noBodies, Overloaded
		left.flags, left.details = "UO", "overflow"
	case !errors.As(err, &bad):
	case bad.Remote:
		left.details = "http2.remote_reset"
	default:
		left.flags, left.details = "DPE", bad.Detail
	}
	return left
}

// finish writes the request's line in the access log; an answer that broke off is
// reset, never ended as if it were whole.
func (r *h2Request) finish(err error) {
	e := &r.entry
	e.received, e.messagesReceived, e.messagesSent = r.body.received.Load(), r.body.messages.n, r.sent.n
	why := r.ending()
	code := http2.InternalError
	switch {
	case err == nil:
		e.details = "via_upstream"
	case why == timedOut:
		e.flags, e.details = "UT", "response_timeout"
	case isWriteError(err) || why == gone || r.body.failed != nil:
		left := r.gaveUp()
		e.flags, e.details = left.flags, left.details
	default:
		e.flags, e.details, code = brokenOff(err)
	}
	e.flags = r.tries.flags(e.flags)
	if err != nil {
		r.down.Reset(code)
	}
	r.c.server.record(e)
}

// brokenOff says of an answer that the upstream did not finish what is logged, and
// what the application's stream is reset with.
func brokenOff(err error) (flags, details string, code http2.ErrCode) {
	var stream *http2.StreamError
	switch {
	case isTimeout(err), errors.Is(err, http2.ErrIdle):
		return "SI", "stream_idle_timeout", http2.InternalError
	case errors.Is(err, http2.ErrNoMemory):
		return "UO", "overflow", http2.EnhanceYourCalm
	case errors.As(err, &stream) && stream.Remote && stream.Code != http2.NoError:
		return "UR", "upstream_reset_after_response_started{remote_reset}", stream.Code
	case errors.As(err, &stream) && stream.Remote:
		return "UR", "upstream_reset_after_response_started{remote_reset}", http2.InternalError
	case errors.As(err, &stream):
		return "UPE", "upstream_reset_after_response_started{protocol_error:" + stream.Detail + "}", http2.InternalError
	}
	return "UC", "upstream_reset_after_response_started{connection_termination}", http2.InternalError
}
