package nft

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/ownnetns"
	"github.com/sluice-cni/sluice/rules"
)

// The errors of every backend, by this package's name.
var (
	ErrUnsupported  = rules.ErrUnsupported
	ErrNotPermitted = rules.ErrNotPermitted
)

const (
	// bufferBytes lets one transaction with more than 100 000 ranges through;
	// only real root gets it, others stay at net.core.wmem_max.
	bufferBytes = 16 << 20
	// answerTime bounds what is done on one connection. The kernel answers while it
	// works; the rest is ours, and a hundred thousand ranges take a slow machine long.
	answerTime = time.Minute
)

// closeAfter is longer than the kernel usually takes to free what a transaction has
// replaced.
const closeAfter = 100 * time.Millisecond

// closeLater closes a connection when that costs nothing any more. Any netlink socket of
// a namespace that is closed waits, in the kernel, until what a transaction there has
// replaced is freed (nft_rcv_nl_event, Linux 6.18): an RCU grace period, 5 to 20 ms,
// a hundred times what the transaction took. A process that ends before closes it by that.
func closeLater(c *nftables.Conn) { time.AfterFunc(closeAfter, func() { c.CloseLasting() }) }

// ownNamespace stands for the namespace of this process, where open takes a descriptor.
const ownNamespace = -1

// Connect is for whoever reads a namespace's rules with the library: to it descriptor 0 is
// none, and it would look at the namespace it is in. The caller closes the connection.
func Connect(netnsFD int) (*nftables.Conn, error) { return open(netnsFD) }

// open connects to the namespace behind a descriptor. The caller must see to it that the
// connection is closed (closeLater).
func open(netnsFD int) (*nftables.Conn, error) {
	return connected(netnsFD, func(fd int) (*nftables.Conn, error) {
		return nftables.New(nftables.AsLasting(), nftables.WithNetNSFd(fd), nftables.WithSockOptions(prepareSocket))
	})
}

// connected has a library connect to a namespace, by a descriptor as it takes one: to it 0
// is none, and it would look at, or program, the namespace we are in.
func connected[C any](netnsFD int, connect func(fd int) (C, error)) (c C, err error) {
	const doing = "open a netlink socket"
	// The check that follows meets most of what makes the library panic, not a
	// limit of open files that leaves room for one socket and no more.
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("open a netlink socket in the network namespace: it failed for a reason that the library lost; raise the limit of open files if it is low")
		}
	}()
	if err := haveNetfilterSockets(); err != nil {
		return c, explain(doing, err)
	}
	if netnsFD == ownNamespace || ownnetns.Is(netnsFD) {
		netnsFD = 0
	} else if netnsFD == 0 {
		if netnsFD, err = unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3); err != nil {
			return c, explain(doing, os.NewSyscallError("fcntl", err))
		}
		defer unix.Close(netnsFD)
	}
	c, err = connect(netnsFD)
	return c, explain(doing, err)
}

// haveNetfilterSockets opens a socket for the sake of the error: the netlink
// library loses it when it opens one in another namespace, and then panics
// (github.com/mdlayher/socket v0.5.0, withNetNS).
func haveNetfilterSockets() error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	return unix.Close(fd)
}

func prepareSocket(c *netlink.Conn) error {
	return errors.Join(
		c.SetWriteBuffer(bufferBytes),
		c.SetReadBuffer(bufferBytes),
		c.SetDeadline(time.Now().Add(answerTime)),
	)
}

// installed returns the tables of the namespace, inet and netdev, nil for one that
// is not there. It is the first thing asked of the kernel, so it also meets a
// kernel without nf_tables.
func installed(c *nftables.Conn) (out [2]*nftables.Table, err error) {
	tables, err := c.ListTables()
	if err != nil {
		return out, explain("list the nftables tables", err)
	}
	for i, family := range []nftables.TableFamily{nftables.TableFamilyINet, nftables.TableFamilyNetdev} {
		for _, t := range tables {
			if t.Name == tableName && t.Family == family {
				out[i] = t
			}
		}
	}
	return out, nil
}

// explain says what an errno means here. The listing of tables fails with EINVAL
// or EOPNOTSUPP where nf_tables is not built or its module cannot be loaded.
func explain(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s: %w", doing, ErrNotPermitted)
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL):
		return fmt.Errorf("%s: %w: it has no nf_tables; load the module nf_tables, or use a kernel built with CONFIG_NF_TABLES and CONFIG_NF_TABLES_INET (%w)", doing, ErrUnsupported, err)
	case errors.Is(err, unix.EMSGSIZE), errors.Is(err, unix.ENOBUFS):
		return fmt.Errorf("%s: too many ranges for one transaction of this user (net.core.wmem_max); merge ranges or run as root (%w)", doing, err)
	}
	return fmt.Errorf("%s: %w", doing, err)
}
