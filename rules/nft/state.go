package nft

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// State is a namespace's rules at a time, for whoever compares it with another of the same
// namespace: while it stays the same, so does what Check says of one plan, unless that has
// ExemptCgroups, which can be made again. It means nothing to another process.
type State struct {
	// generation is the kernel's count of transactions: every rule, chain, set and element
	// that anybody adds, changes or deletes comes in one (nf_tables_commit). What packets
	// and time change in sets does not; Check finds sets that have become such.
	generation uint32
	// attached is of what changes without one: the interfaces there are, and the chains
	// that the kernel deletes with theirs.
	attached uint64
}

var stateSeed = maphash.MakeSeed()

// StateOf costs a tenth of what Check does. Whoever compares takes it before the Check:
// what changes meanwhile makes another State.
func StateOf(netnsFD int) (s State, err error) {
	var attached maphash.Hash
	attached.SetSeed(stateSeed)
	if s.generation, err = addChains(netnsFD, &attached); err == nil {
		err = addLinks(netnsFD, &attached)
	}
	s.attached = attached.Sum64()
	return s, explain("look for changes", err)
}

// addChains adds the chains of interfaces, which are netdev's, and returns the generation.
func addChains(netnsFD int, sum *maphash.Hash) (generation uint32, err error) {
	c, err := dial(netnsFD, unix.NETLINK_NETFILTER)
	if err != nil {
		return 0, err
	}
	defer time.AfterFunc(closeAfter, func() { c.Close() })
	answer, err := c.Execute(request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETGEN, 0, nfgenmsg(unix.AF_UNSPEC)))
	if err != nil {
		return 0, err
	}
	known := false
	for _, m := range answer {
		err = attributes(m, len(nfgenmsg(0)), func(kind uint16, value []byte) {
			if kind == unix.NFTA_GEN_ID && len(value) == 4 {
				generation, known = binary.BigEndian.Uint32(value), true
			}
		})
		if err != nil {
			return 0, err
		}
	}
	if !known {
		return 0, errors.New("the kernel does not count the changes of its rules")
	}
	chains, err := c.Execute(request(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETCHAIN, netlink.Dump, nfgenmsg(unix.NFPROTO_NETDEV)))
	for _, m := range chains {
		sum.Write(m.Data)
	}
	return generation, err
}

// addLinks adds each interface's number and name.
func addLinks(netnsFD int, sum *maphash.Hash) error {
	c, err := dial(netnsFD, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := c.Execute(request(unix.RTM_GETLINK, netlink.Dump, make([]byte, unix.SizeofIfInfomsg)))
	if err != nil {
		return err
	}
	for _, m := range all {
		err := attributes(m, unix.SizeofIfInfomsg, func(kind uint16, value []byte) {
			if kind == unix.IFLA_IFNAME {
				sum.Write(m.Data[4:8]) // ifi_index
				sum.Write(value)       // which ends with a zero
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func dial(netnsFD, protocol int) (*netlink.Conn, error) {
	return connected(netnsFD, func(fd int) (*netlink.Conn, error) {
		c, err := netlink.Dial(protocol, &netlink.Config{NetNS: fd})
		if err != nil {
			return nil, err
		}
		if err := c.SetDeadline(time.Now().Add(answerTime)); err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	})
}

func request(kind netlink.HeaderType, flags netlink.HeaderFlags, data []byte) netlink.Message {
	return netlink.Message{Header: netlink.Header{Type: kind, Flags: netlink.Request | flags}, Data: data}
}

// nfgenmsg begins every message about nf_tables.
func nfgenmsg(family byte) []byte { return []byte{family, unix.NFNETLINK_V0, 0, 0} }

// attributes calls visit with those that follow a message's own head.
func attributes(m netlink.Message, head int, visit func(kind uint16, value []byte)) error {
	if len(m.Data) < head {
		return errors.New("the kernel's answer is too short")
	}
	d, err := netlink.NewAttributeDecoder(m.Data[head:])
	if err != nil {
		return err
	}
	for d.Next() {
		visit(d.Type(), d.Bytes())
	}
	return d.Err()
}
