package explain

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// route asks the namespace's routes where the flow goes, as far as the flags leave
// that open. Asking sends nothing.
func (a *Answer) route(ns *os.File) error {
	if a.Flow.OutInterface != "" {
		return nil
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()))
	if err != nil {
		return fmt.Errorf("look at the routes: %w", err)
	}
	defer h.Close()
	found, err := h.RouteGetWithOptions(a.Flow.Dst.AsSlice(), a.routeOptions())
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || len(found) == 0 && err == nil {
		a.Notes = append(a.Notes, "the namespace has no route to that address: nothing is sent at all")
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the route to %s: %w", a.Flow.Dst, err)
	}
	if found[0].Type == unix.RTN_LOCAL {
		a.Flow.OutInterface = "lo"
		return nil
	}
	link, err := h.LinkByIndex(found[0].LinkIndex)
	if err != nil {
		return fmt.Errorf("look for the route's interface: %w", err)
	}
	a.Flow.OutInterface = link.Attrs().Name
	return nil
}

func (a *Answer) routeOptions() *netlink.RouteGetOptions {
	uid := a.Flow.UID
	return &netlink.RouteGetOptions{Mark: a.Flow.Mark, UID: &uid}
}

// guessRoute stands in for routes that nobody can be asked about: loopback stays, and
// what arrives is for the namespace, unless it is carried for a machine behind it.
func (a *Answer) guessRoute() {
	switch {
	case a.Flow.OutInterface != "":
	case a.Flow.Dst.IsLoopback(), a.Flow.InInterface != "" && !slices.Contains(a.Config.RerouteInterfaces, a.Flow.InInterface):
		a.Flow.OutInterface = "lo"
	}
}
