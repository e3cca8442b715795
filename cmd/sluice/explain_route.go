package main

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
func (e *explanation) route(ns *os.File) error {
	if e.flow.OutInterface != "" {
		return nil
	}
	h, err := netlink.NewHandleAt(netns.NsHandle(ns.Fd()))
	if err != nil {
		return fmt.Errorf("look at the routes: %w", err)
	}
	defer h.Close()
	found, err := h.RouteGetWithOptions(e.flow.Dst.AsSlice(), e.routeOptions())
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || len(found) == 0 && err == nil {
		e.notes = append(e.notes, "the namespace has no route to that address: nothing is sent at all")
		return nil
	}
	if err != nil {
		return fmt.Errorf("look for the route to %s: %w", e.flow.Dst, err)
	}
	if found[0].Type == unix.RTN_LOCAL {
		e.flow.OutInterface = "lo"
		return nil
	}
	link, err := h.LinkByIndex(found[0].LinkIndex)
	if err != nil {
		return fmt.Errorf("look for the route's interface: %w", err)
	}
	e.flow.OutInterface = link.Attrs().Name
	return nil
}

func (e *explanation) routeOptions() *netlink.RouteGetOptions {
	uid := e.flow.UID
	return &netlink.RouteGetOptions{Mark: e.flow.Mark, UID: &uid}
}

// guessRoute stands in for routes that nobody can be asked about: loopback stays, and
// what arrives is for the namespace, unless it is carried for a machine behind it.
func (e *explanation) guessRoute() {
	switch {
	case e.flow.OutInterface != "":
	case e.flow.Dst.IsLoopback(), e.flow.InInterface != "" && !slices.Contains(e.config.RerouteInterfaces, e.flow.InInterface):
		e.flow.OutInterface = "lo"
	}
}
