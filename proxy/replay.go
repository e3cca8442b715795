package proxy

import "sync"

// Bounds of what is kept of one request's body. Envoy keeps as much where an answer may
// be worth another try; the lesser one is for streams that a server has not looked at,
// whatever the policy.
const (
	maxReplay = 1 << 20
	minReplay = 64 << 10
)

// replay keeps what has gone of a request's body, for another try. One goroutine sends
// the body while another decides. What is beyond its limit, or the server's budget, is
// given up, and with it every further try.
type replay struct {
	budget *budget
	limit  int

	mu     sync.Mutex
	data   []byte
	held   int64 // of the budget
	lost   bool  // something has gone that is not kept
	frozen bool  // the body is to stop where it is
}

// begin is called before anything of the body has gone.
func (r *replay) begin(b *budget, limit int) {
	r.budget, r.limit = b, limit
	r.lost, r.frozen = false, false
}

// keep notes what has gone, and says whether more is to go.
func (r *replay) keep(data []byte) (goOn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.lost:
		return true
	case r.frozen: // who decided does so on this too, whatever its size
	case len(r.data)+len(data) > r.limit || !r.budget.take(int64(len(data))):
		r.drop()
		return true
	default:
		r.held += int64(len(data))
	}
	r.data = append(r.data, data...)
	return !r.frozen
}

// keeping says that what goes next has to be shown to keep.
func (r *replay) keeping() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.lost && r.limit > 0
}

// whole says that all that has gone is kept.
func (r *replay) whole() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return !r.lost
}

// claim is whole for one who is about to stop the body in its middle: from here on
// nothing is given up.
func (r *replay) claim() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = !r.lost
	return r.frozen
}

// again is what is to be sent before the body goes on.
func (r *replay) again() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frozen = false
	return r.data
}

// settle gives up what is kept: there is no other try.
func (r *replay) settle() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop()
}

func (r *replay) drop() {
	if r.held > 0 {
		r.budget.giveBack(r.held)
	}
	r.data, r.held, r.lost = nil, 0, true
}
