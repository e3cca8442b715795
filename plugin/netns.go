package plugin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// openNetns opens the pod's namespace, refusing what is none and the host's own:
// there the rules would redirect the whole machine.
func openNetns(args *skel.CmdArgs) (*os.File, error) {
	// Without O_NONBLOCK a path that is a pipe would hold the runtime up.
	f, err := os.OpenFile(args.Netns, os.O_RDONLY|unix.O_NONBLOCK, 0)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, badNetns("network namespace %q: does not exist; it may have been removed meanwhile", args.Netns)
	case errors.Is(err, fs.ErrPermission):
		return nil, types.NewError(codeNotPermitted, fmt.Sprintf("network namespace %q: may not be opened", args.Netns), rules.ErrNotPermitted.Error())
	case err != nil:
		return nil, badNetns("network namespace %q: cannot be opened: %v", args.Netns, errors.Unwrap(err))
	}
	if err := judgeNetns(f, args); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func judgeNetns(f *os.File, args *skel.CmdArgs) error {
	if kind, err := unix.IoctlRetInt(int(f.Fd()), unix.NS_GET_NSTYPE); err != nil || kind != unix.CLONE_NEWNET {
		return badNetns("network namespace %q: is no network namespace; give a path such as /run/netns/NAME", args.Netns)
	}
	if overridden(args) {
		return nil
	}
	for _, own := range []string{"/proc/thread-self/ns/net", "/proc/1/ns/net"} {
		if sameFile(f, own) {
			return badNetns("network namespace %q: is the host's own; sluice-cni never redirects the host's traffic", args.Netns)
		}
	}
	return nil
}

// overridden is the specification's word that plugin and pod share a namespace on
// purpose, as where every pod is a virtual machine of its own.
func overridden(args *skel.CmdArgs) bool {
	return args.NetnsOverride == "1" || strings.EqualFold(args.NetnsOverride, "true")
}

// sameFile compares device and inode. A path that cannot be read, as another
// user's process, is not the same.
func sameFile(f *os.File, path string) bool {
	a, err1 := f.Stat()
	b, err2 := os.Stat(path)
	return err1 == nil && err2 == nil && os.SameFile(a, b)
}

func badNetns(format string, args ...any) error {
	return types.NewError(types.ErrInvalidNetNS, fmt.Sprintf(format, args...), "")
}

// inside runs f on a thread in the namespace, which ends with it.
func inside(netnsFD int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread stays in the namespace and ends
		done <- func() (err error) {
			defer func() {
				if r := recover(); r != nil {
					err = bug(r)
				}
			}()
			if err := unix.Setns(netnsFD, unix.CLONE_NEWNET); err != nil {
				return fmt.Errorf("enter the network namespace: %w", err)
			}
			return f()
		}()
	}()
	return <-done
}
