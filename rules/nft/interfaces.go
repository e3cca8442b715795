package nft

import (
	"fmt"
	"slices"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// interfacesOf names the interfaces of a namespace, sorted.
func interfacesOf(netnsFD int) ([]string, error) {
	h, err := connected(netnsFD, func(fd int) (*netlink.Handle, error) {
		if fd == 0 {
			return netlink.NewHandle(unix.NETLINK_ROUTE)
		}
		return netlink.NewHandleAt(netns.NsHandle(fd), unix.NETLINK_ROUTE)
	})
	if err != nil {
		return nil, explain("look at the interfaces", err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	var out []string
	for _, l := range links {
		out = append(out, l.Attrs().Name)
	}
	slices.Sort(out)
	return out, nil
}
