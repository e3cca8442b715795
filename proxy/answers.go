package proxy

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/sluice-cni/sluice/vip"
)

// Answers is the memory of whoever answers the workload's DNS.
type Answers interface {
	// Gave reports whether a name (lower case, no trailing dot) was answered with an
	// address, lately enough that the application may still be using it.
	Gave(name string, addr netip.Addr) bool
}

// gave says that the application has an address from the answer to a name. It is the
// first witness that an address is the name's: the proxy's own lookup may have been
// answered with others.
func (s *Server) gave(name string, addr netip.Addr) bool {
	return s.cfg.Answers != nil && name != "" && s.cfg.Answers.Gave(name, addr)
}

var errNobodysAddress = errors.New("the destination is a virtual address that no name has")

// behind finds the real address of the name that a virtual one stands for, for a
// connection that no route takes: under ALLOW_ANY it goes where it would have gone
// without virtual addresses. Nobody ever dials a virtual address.
func (s *Server) behind(ctx context.Context, a asked, draw uint32) (netip.AddrPort, error) {
	if !vip.Contains(a.dst.Addr()) {
		return a.dst, nil
	}
	name := ""
	if st := s.state.Load(); st != nil {
		name = st.view.HostAt(a.dst.Addr())
	}
	if name == "" {
		return netip.AddrPort{}, fmt.Errorf("%w: %w", errNoEndpoint, errNobodysAddress)
	}
	addrs, err := s.lookup(ctx, name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if addrs, err = s.safe(passthrough, name, addrs); err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(s.pickAddr(addrs, a, draw), a.dst.Port()), nil
}
