package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/ownnetns"
	"github.com/sluice-cni/sluice/rules"
)

// namespaceHint is what --netns takes.
const namespaceHint = "give a path such as /run/netns/NAME or /proc/PID/ns/net, or a NAME of 'ip netns'"

// openNetns opens the network namespace that --netns names.
func openNetns(name string) (*os.File, error) {
	if name == "" {
		return nil, usage(errors.New("flag --netns: is missing"), namespaceHint)
	}
	path := name
	if !strings.Contains(name, "/") {
		path = filepath.Join("/run/netns", name)
	}
	// Without O_NONBLOCK a path that is a pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("namespace %q: may not be opened: %w", name, rules.ErrNotPermitted)
	case err != nil:
		return nil, hinted(fmt.Errorf("namespace %q: cannot be opened: %w", name, errors.Unwrap(err)), namespaceHint)
	}
	if kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		f.Close()
		return nil, hinted(fmt.Errorf("namespace %q: is no network namespace", name), namespaceHint)
	}
	return f, nil
}

// isHost reports the namespace of this process or of the machine: rules in it would
// redirect everything.
func isHost(f *os.File) bool {
	info, err := f.Stat()
	if err != nil {
		return false
	}
	first, err := os.Stat("/proc/1/ns/net")
	return ownnetns.Is(int(f.Fd())) || err == nil && os.SameFile(info, first)
}

// raiseLoopback brings lo up, where redirected connections arrive.
func raiseLoopback(f *os.File) error {
	at := netns.NsHandle(f.Fd())
	if ownnetns.Is(int(f.Fd())) {
		at = netns.None() // to enter it once more takes CAP_SYS_ADMIN
	}
	h, err := netlink.NewHandleAt(at)
	if err != nil {
		return fmt.Errorf("look at interface lo: %w", err)
	}
	defer h.Close()
	lo, err := h.LinkByName("lo")
	if err == nil {
		err = h.LinkSetUp(lo)
	}
	if err != nil {
		return fmt.Errorf("bring interface lo up: %w", err)
	}
	return nil
}
