package nft

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// ErrRootCgroup reports a process in the cgroup that holds all others.
var ErrRootCgroup = errors.New("this process is in the root of the cgroup version 2 hierarchy, and an exemption for that would exempt every pod; start it in a cgroup of its own (a container, a service), or let it make and join one before it opens any socket (sluice agent --cgroup)")

// deepest bounds the search for this process's own level.
const deepest = 32

// OwnAgents is by what the kernel tells this process's sockets from those of pods:
// its cgroup's number and the level at which a rule loaded by this process finds it.
// Both are measured with a socket in a namespace made for that, since some kernels
// count levels from the root of the hierarchy and others from the cgroup namespace of
// who loads the rule (Linux 6.12), in which paths say nothing and the hierarchy may
// not be mounted at all. Sockets keep the cgroup they were made in: call it after the
// process has joined its own. Errors: ErrRootCgroup; ErrUnsupported where the kernel
// cannot tell sockets by cgroup, and a mark must serve.
func OwnAgents() (rules.Agents, error) {
	own, err := ownAgents()
	if err == nil && own.IDs[0] == rootCgroup {
		err = ErrRootCgroup
		if _, none := cgroupMount(); errors.Is(none, ErrUnsupported) {
			err = none
		}
	}
	if err != nil {
		return rules.Agents{}, fmt.Errorf("exemption of the agent by cgroup: %w", err)
	}
	return own, nil
}

// ownAgents is OwnAgents, be the cgroup the root.
func ownAgents() (own rules.Agents, err error) {
	err = inScratchNamespace(func() error {
		ids, err := ancestors()
		if err == nil {
			own = rules.Agents{Levels: []int{len(ids) - 1}, IDs: ids[len(ids)-1:]}
		}
		return err
	})
	return own, err
}

// ancestors has rules write down what they find for a socket of this thread at each
// level: its cgroup is the last, the first is the root from which the kernel counts.
func ancestors() ([]uint64, error) {
	c, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(prepareSocket))
	if err != nil {
		return nil, err
	}
	defer c.CloseLasting()
	sets, err := askForAncestors(c)
	if err == nil {
		err = c.Flush()
	}
	if isMissing(err) || errors.Is(err, unix.EOPNOTSUPP) {
		return nil, fmt.Errorf("%w: socket cgroupv2 matches (nft_socket, Linux 5.13) are missing (%w)", ErrUnsupported, err)
	}
	if err == nil {
		err = sendAnything()
	}
	if err != nil {
		return nil, err
	}
	var out []uint64
	for level, set := range sets {
		found, err := c.GetSetElements(set)
		switch {
		case err != nil:
			return nil, err
		case len(found) == 0 && level == 0:
			return nil, errors.New("the kernel finds no cgroup for a socket of this process")
		case len(found) == 0:
			return out, nil
		}
		out = append(out, binaryutil.NativeEndian.Uint64(found[0].Key))
	}
	return nil, fmt.Errorf("a socket of this process is more than %d cgroups deep", deepest-1)
}

// askForAncestors queues a set for each level, and a rule that fills it.
func askForAncestors(c *nftables.Conn) ([]*nftables.Set, error) {
	t := c.AddTable(&nftables.Table{Name: "probe", Family: nftables.TableFamilyINet})
	chain := c.AddChain(kernelChain(t, chainLayout{Chain: rules.Chain{Name: "probe", Hook: &rules.Hook{Type: "filter", Point: rules.Output}}}))
	var sets []*nftables.Set
	for level := range deepest {
		set := &nftables.Set{ID: uint32(level + 1), Table: t, Name: fmt.Sprintf("level_%d", level), KeyType: nftables.TypeCGroupV2, Dynamic: true, KeyByteOrder: binaryutil.NativeEndian}
		if err := c.AddSet(set, nil); err != nil {
			return nil, err
		}
		c.AddRule(&nftables.Rule{Table: t, Chain: chain, Exprs: []expr.Any{
			&expr.Socket{Key: expr.SocketKeyCgroupv2, Level: uint32(level), Register: reg},
			&expr.Dynset{SrcRegKey: reg, SetName: set.Name, SetID: set.ID, Operation: unix.NFT_DYNSET_OP_ADD},
		}})
		sets = append(sets, set)
	}
	return sets, nil
}

// sendAnything makes a socket on this thread and sends over loopback, to nobody.
func sendAnything() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Sendto(fd, []byte("?"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}})
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
