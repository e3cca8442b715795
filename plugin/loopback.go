package plugin

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Redirected connections arrive at the loopback address, so lo must be up. A
// container runtime sees to that with a plugin of its own; cnitool and a bare
// `ip netns add` do not, and then connections hang instead of being captured.

var errLoopbackDown = errors.New("interface lo: is down")

// raiseLoopback brings a namespace's lo up.
func raiseLoopback(netnsFD int) error {
	return loopbackFlags(netnsFD, func(socket int, lo *unix.Ifreq) error {
		if lo.Uint16()&unix.IFF_UP != 0 {
			return nil
		}
		lo.SetUint16(lo.Uint16() | unix.IFF_UP)
		if err := unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo); err != nil {
			return fmt.Errorf("bring interface lo up: %w", err)
		}
		return nil
	})
}

// checkLoopback reports errLoopbackDown for a namespace whose lo is down.
func checkLoopback(netnsFD int) error {
	return loopbackFlags(netnsFD, func(_ int, lo *unix.Ifreq) error {
		if lo.Uint16()&unix.IFF_UP == 0 {
			return errLoopbackDown
		}
		return nil
	})
}

// loopbackFlags calls f with lo's flags and a socket of the namespace.
func loopbackFlags(netnsFD int, f func(socket int, lo *unix.Ifreq) error) error {
	return inside(netnsFD, func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("open a socket: %w", err)
		}
		defer unix.Close(socket)
		lo, err := unix.NewIfreq("lo")
		if err != nil {
			return err
		}
		if err := unix.IoctlIfreq(socket, unix.SIOCGIFFLAGS, lo); err != nil {
			return fmt.Errorf("look at interface lo: %w", err)
		}
		return f(socket, lo)
	})
}
