package dns

import (
	"net/netip"
	"time"
)

// Known is what a Resolver remembers of a name.
type Known struct {
	Addrs   []netip.Addr // must not be changed
	Err     error        // why there are none
	Expires time.Time    // the end of its TTL; it is renewed while it is in use
}

// Known says what is remembered of a name, false where nothing is. Unlike Lookup it
// asks nobody, and does not count as use of the name.
func (r *Resolver) Known(name string) (Known, bool) {
	name = canonical(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	e := r.cache[name]
	if e == nil || e.filled.IsZero() {
		return Known{}, false
	}
	return Known{e.addrs, e.err, e.expires}, true
}
