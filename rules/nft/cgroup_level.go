package nft

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// deepest bounds the search for this process's own level.
const deepest = 32

// cgroupLevels is the difference between a cgroup's depth as this process sees it
// and the level by which the kernel knows it. Some kernels count from the root of
// the hierarchy, others from the cgroup namespace of whoever loads the rule; so it
// is measured, once: a socket of ours is sent past a rule for each level.
var cgroupLevels = sync.OnceValues(func() (levels int, err error) {
	err = inScratchNamespace(func() error {
		levels, err = measureLevels()
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("exemption by cgroup: find the level by which the kernel knows a cgroup: %w", err)
	}
	return levels, nil
})

func measureLevels() (int, error) {
	own, err := ownCgroup()
	if err != nil {
		return 0, err
	}
	mount, err := cgroupMount()
	if err != nil {
		return 0, err
	}
	id, err := mount.id(own)
	if err != nil {
		return 0, fmt.Errorf("look up the own cgroup %s: %w", own, err)
	}
	level, err := levelOf(id)
	return level - rules.CgroupDepth(own), err
}

// ownCgroup is the version 2 cgroup of this thread, which makes the sockets.
func ownCgroup() (string, error) {
	data, err := os.ReadFile("/proc/thread-self/cgroup")
	if err != nil {
		return "", fmt.Errorf("find the own cgroup: %w", err)
	}
	for line := range strings.Lines(string(data)) {
		if own, found := strings.CutPrefix(strings.TrimRight(line, "\n"), "0::"); found {
			return own, nil
		}
	}
	return "", fmt.Errorf("find the own cgroup: %w: it has no cgroup version 2", ErrUnsupported)
}

// levelOf finds the level at which a socket of this thread is in the cgroup: each
// rule refuses what it knows at one more level, so the first send that is refused
// names it.
func levelOf(id uint64) (int, error) {
	for level := range deepest {
		known, err := knownAt(level, id)
		if err != nil || known {
			return level, err
		}
	}
	return 0, fmt.Errorf("a socket of this process matches at no level up to %d", deepest)
}

func knownAt(level int, id uint64) (bool, error) {
	c, err := nftables.New(nftables.WithSockOptions(prepareSocket))
	if err != nil {
		return false, err
	}
	t := &nftables.Table{Name: "probe", Family: nftables.TableFamilyINet}
	c.AddTable(t)
	c.DelTable(t)
	t = c.AddTable(t)
	chain := c.AddChain(kernelChain(t, chainLayout{Chain: rules.Chain{Name: "probe", Hook: &rules.Hook{Type: "filter", Point: rules.Output}}}))
	c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
		&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: uint32(level), Register: reg},
		equal(binaryutil.NativeEndian.PutUint64(id)),
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	if err := c.Flush(); err != nil {
		if isMissing(err) || errors.Is(err, unix.EOPNOTSUPP) {
			return false, fmt.Errorf("%w: socket cgroupv2 matches (nft_socket, Linux 5.13) are missing (%w)", ErrUnsupported, err)
		}
		return false, err
	}
	return dropped()
}

// dropped sends a datagram over loopback: one that a rule drops fails at once.
func dropped() (bool, error) {
	conn, err := net.Dial("udp4", "127.0.0.1:9")
	if err != nil {
		return false, err
	}
	defer conn.Close()
	_, err = conn.Write([]byte("?"))
	if errors.Is(err, unix.EPERM) {
		return true, nil
	}
	return false, err
}
