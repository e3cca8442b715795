package pods_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/lab"
)

// The pods' applications are another process than the one that serves them, in another
// cgroup: sockets that this one makes are the agent's. So it makes the sockets, connects
// them inside the pod, and sends them here.

const applicationEnv = "SLUICE_TEST_APPLICATION"

// applications is the connection to that process.
var applications struct {
	sync.Mutex
	*wire.Conn
}

// dialling is what it is asked for.
type dialling struct{ Netns, Network, Address string }

// startApplications starts it, before this process has a cgroup of its own. It ends with
// this process.
func startApplications() error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	theirs := os.NewFile(uintptr(pair[1]), "applications")
	defer theirs.Close()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), applicationEnv+"=1")
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	applications.Conn, err = connOf(os.NewFile(uintptr(pair[0]), "applications"))
	return err
}

func connOf(f *os.File) (*wire.Conn, error) {
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return wire.NewConn(c.(*net.UnixConn)), nil
}

// runApplications is that process's life.
func runApplications() error {
	c, err := connOf(os.NewFile(3, "applications"))
	if err != nil {
		return err
	}
	for {
		m, err := c.Receive(time.Time{})
		if err != nil {
			return nil // the tests have ended
		}
		var d dialling
		if err := m.Into(&d); err != nil {
			return err
		}
		go func() { // answers come in order since questions do
			f, err := d.dial()
			if err != nil {
				c.Send(wire.Refused, wire.Refusal{Text: err.Error()})
				return
			}
			c.Send(wire.Held, nil, f)
			f.Close()
		}()
	}
}

func (d dialling) dial() (*os.File, error) {
	pod, err := lab.Open(d.Netns)
	if err != nil {
		return nil, err
	}
	defer pod.Close()
	if d.Network == rawTCP {
		return openRaw(pod, d.Address)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, err := pod.Dial(ctx, d.Network, d.Address)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.(interface{ File() (*os.File, error) }).File()
}

// rawTCP is the network of a socket that writes headers of TCP by itself.
const rawTCP = "raw"

func openRaw(pod *lab.Namespace, address string) (f *os.File, err error) {
	to, err := netip.ParseAddr(address)
	if err != nil {
		return nil, err
	}
	err = pod.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(fd), rawTCP)
		return unix.Connect(fd, &unix.SockaddrInet4{Addr: to.As4()})
	})
	return f, err
}

// connect connects from inside a pod as its application.
func connect(pod *lab.Namespace, network, address string) (net.Conn, error) {
	applications.Lock()
	defer applications.Unlock()
	if err := applications.Send(wire.Hold, dialling{pod.FDPath(), network, address}); err != nil {
		return nil, err
	}
	m, err := applications.Receive(time.Now().Add(2 * patience))
	if err != nil {
		return nil, err
	}
	defer m.Close()
	if m.Kind == wire.Refused {
		var r wire.Refusal
		return nil, errors.Join(m.Into(&r), &r)
	}
	return net.FileConn(m.Files[0])
}
