package pods

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// States of TCP, of the kernel (include/net/tcp_states.h) and of its conntrack
// (nf_conntrack_tcp.h).
const (
	tcpEstablished, tcpSynSent, tcpFinWait1, tcpFinWait2, tcpCloseWait, tcpLastAck, tcpClosing = 1, 2, 4, 5, 8, 9, 11

	trackedSynSent, trackedEstablished = 1, 3
)

// How long conntrack remembers them without a packet: its own defaults, in seconds.
const (
	synSentFor     = 120
	establishedFor = 5 * 24 * 3600
)

// Attributes and bits of ctnetlink that the library has no names for
// (nfnetlink_conntrack.h, nf_conntrack_common.h, nf_conntrack_tcp.h).
const (
	ctaStatus       = 3
	ctaFlagsOrigin  = 4
	ctaFlagsReply   = 5
	statusConfirmed = 1 << 3
	statusSeenReply = 1<<1 | 1<<2 // and assured
	flagLiberal     = 0x08        // sequence numbers are not known
)

// trackLiving tells conntrack of the TCP connections that the calling thread's namespace
// has. It tracks nothing before there are rules that ask it, so a packet of a connection
// from before begins a new one for it, as one that is made up does. Once it knows those
// from before, rules need not let everything through that is no SYN. begun says whether
// connections that wait for their server count: only where conntrack would know of those
// that began after it.
func trackLiving(begun bool) error {
	var errs []error
	for _, family := range []uint8{unix.AF_INET, unix.AF_INET6} {
		all, err := netlink.SocketDiagTCP(family)
		if err != nil && !errors.Is(err, unix.EAFNOSUPPORT) && !errors.Is(err, unix.ENOENT) {
			return fmt.Errorf("list the connections from before: %w", err)
		}
		for _, s := range all {
			if begun || s.State != tcpSynSent {
				errs = append(errs, track(s))
			}
		}
	}
	return errors.Join(errs...)
}

func track(s *netlink.Socket) error {
	state, status, lasts := uint8(trackedEstablished), uint32(statusConfirmed|statusSeenReply), uint32(establishedFor)
	switch s.State {
	case tcpEstablished, tcpFinWait1, tcpFinWait2, tcpCloseWait, tcpLastAck, tcpClosing:
	case tcpSynSent:
		state, status, lasts = trackedSynSent, statusConfirmed, synSentFor
	default:
		return nil
	}
	if s.ID.Destination.IsLoopback() {
		return nil
	}
	request, err := tracked(s.ID, state, status, lasts)
	if err != nil {
		return err
	}
	_, err = request.Execute(unix.NETLINK_NETFILTER, 0)
	if err == nil || errors.Is(err, unix.EEXIST) { // it is tracked already
		return nil
	}
	return fmt.Errorf("have the connection to %s tracked: %w", net.JoinHostPort(s.ID.Destination.String(), fmt.Sprint(s.ID.DestinationPort)), err)
}

// tracked is IPCTNL_MSG_CT_NEW for a socket's connection.
func tracked(id netlink.SocketID, state uint8, status, lasts uint32) (*nl.NetlinkRequest, error) {
	family, from, to := uint8(unix.AF_INET), id.Source.To4(), id.Destination.To4() // of an IPv6 socket too
	if from == nil || to == nil {
		family, from, to = unix.AF_INET6, id.Source.To16(), id.Destination.To16()
	}
	if from == nil || to == nil {
		return nil, fmt.Errorf("a connection from %q to %q has no addresses", id.Source, id.Destination)
	}
	r := nl.NewNetlinkRequest(nl.IPCTNL_MSG_CT_NEW|unix.NFNL_SUBSYS_CTNETLINK<<8, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_ACK)
	r.AddData(&nl.Nfgenmsg{NfgenFamily: family, Version: nl.NFNETLINK_V0})
	r.AddData(tuple(nl.CTA_TUPLE_ORIG, from, to, id.SourcePort, id.DestinationPort))
	r.AddData(tuple(nl.CTA_TUPLE_REPLY, to, from, id.DestinationPort, id.SourcePort))
	r.AddData(nl.NewRtAttr(ctaStatus, binary.BigEndian.AppendUint32(nil, status)))
	r.AddData(nl.NewRtAttr(nl.CTA_TIMEOUT, binary.BigEndian.AppendUint32(nil, lasts)))
	info := nl.NewRtAttr(unix.NLA_F_NESTED|nl.CTA_PROTOINFO, nil)
	tcp := info.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_PROTOINFO_TCP, nil)
	tcp.AddRtAttr(nl.CTA_PROTOINFO_TCP_STATE, []byte{state})
	for _, flags := range []int{ctaFlagsOrigin, ctaFlagsReply} {
		tcp.AddRtAttr(flags, []byte{flagLiberal, flagLiberal})
	}
	r.AddData(info)
	return r, nil
}

func tuple(kind int, from, to net.IP, fromPort, toPort uint16) *nl.RtAttr {
	source, destination := nl.CTA_IP_V4_SRC, nl.CTA_IP_V4_DST
	if len(from) == net.IPv6len {
		source, destination = nl.CTA_IP_V6_SRC, nl.CTA_IP_V6_DST
	}
	t := nl.NewRtAttr(unix.NLA_F_NESTED|kind, nil)
	addresses := t.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_IP, nil)
	addresses.AddRtAttr(source, from)
	addresses.AddRtAttr(destination, to)
	ports := t.AddRtAttr(unix.NLA_F_NESTED|nl.CTA_TUPLE_PROTO, nil)
	ports.AddRtAttr(nl.CTA_PROTO_NUM, []byte{unix.IPPROTO_TCP})
	ports.AddRtAttr(nl.CTA_PROTO_SRC_PORT, binary.BigEndian.AppendUint16(nil, fromPort))
	ports.AddRtAttr(nl.CTA_PROTO_DST_PORT, binary.BigEndian.AppendUint16(nil, toPort))
	return t
}
