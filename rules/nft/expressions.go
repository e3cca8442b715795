package nft

import (
	"encoding/binary"
	"net"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/sluice-cni/sluice/rules"
	"golang.org/x/sys/unix"
)

// Register 1 carries every value; no rule needs two at once.
const reg = 1

// Kernel constants that golang.org/x/sys does not have.
const (
	rejectICMPX            = 2      // NFT_REJECT_ICMPX_UNREACH
	rejectTCPReset         = 1      // NFT_REJECT_TCP_RST
	icmpxPortUnreachable   = 1      // NFT_REJECT_ICMPX_PORT_UNREACH
	natRangeProtoSpecified = 2      // NF_NAT_RANGE_PROTO_SPECIFIED
	statusConfirmed        = 1 << 3 // IPS_CONFIRMED: a packet of it has left
	statusDstNAT           = 1 << 5 // IPS_DST_NAT
	tcpFlagsOffset         = 13
	tcpFIN                 = 0x01
	tcpSYN                 = 0x02
	tcpRST                 = 0x04
	tcpACK                 = 0x10
	echoRequest            = 8
	echoRequest6           = 128
)

// translator turns rules into expressions. sets gives the identity of sets that
// the same transaction makes, levels what the kernel adds to a cgroup's depth.
type translator struct {
	sets   map[string]*nftables.Set
	levels int
}

func (t translator) expressions(r rules.Rule) []expr.Any {
	var out []expr.Any
	for _, m := range r.Matches {
		if m.Key == rules.KeyCgroup {
			out = append(out, &expr.Socket{Key: expr.SocketKeyCgroupv2, Level: uint32(m.Level + t.levels), Register: reg})
		} else {
			out = append(out, load(m.Key)...)
		}
		switch {
		case m.Set != "":
			out = append(out, &expr.Lookup{SourceRegister: reg, SetName: m.Set, SetID: t.setID(m.Set), Invert: m.Not})
		case m.Port != 0:
			out = append(out, equal(binary.BigEndian.AppendUint16(nil, m.Port)))
		}
	}
	return append(out, t.action(r.Action)...)
}

func (t translator) setID(name string) uint32 {
	if set := t.sets[name]; set != nil {
		return set.ID
	}
	return 0
}

// load checks what the key presupposes and, for keys that are compared, loads
// the value.
func load(k rules.Key) []expr.Any {
	switch k {
	case rules.KeyUID:
		return []expr.Any{meta(expr.MetaKeySKUID)}
	case rules.KeyGID:
		return []expr.Any{meta(expr.MetaKeySKGID)}
	case rules.KeyMark:
		return []expr.Any{meta(expr.MetaKeyMARK)}
	case rules.KeyInterface:
		return []expr.Any{meta(expr.MetaKeyOIFNAME)}
	case rules.KeyLoopback:
		return []expr.Any{meta(expr.MetaKeyOIFNAME), equal(interfaceKey("lo"))}
	case rules.KeyLeaves:
		return []expr.Any{meta(expr.MetaKeyOIFNAME), unequal(interfaceKey("lo"))}
	case rules.KeyInInterface:
		return []expr.Any{meta(expr.MetaKeyIIFNAME)}
	case rules.KeyLocalDst:
		return []expr.Any{&expr.Fib{Register: reg, FlagDADDR: true, ResultADDRTYPE: true}, equal(binaryutil.NativeEndian.PutUint32(unix.RTN_LOCAL))}
	case rules.KeyForeignSrc: // a local one is of type local, none at all of type broadcast or unspec
		return []expr.Any{&expr.Fib{Register: reg, FlagSADDR: true, ResultADDRTYPE: true}, equal(binaryutil.NativeEndian.PutUint32(unix.RTN_UNICAST))}
	case rules.KeyFamily:
		return []expr.Any{meta(expr.MetaKeyNFPROTO)}
	case rules.KeyMarked:
		return []expr.Any{meta(expr.MetaKeyMARK), unequal(make([]byte, 4))}
	case rules.KeyIPv4Dst:
		return []expr.Any{meta(expr.MetaKeyNFPROTO), equal([]byte{unix.NFPROTO_IPV4}), payload(expr.PayloadBaseNetworkHeader, 16, 4)}
	case rules.KeyToLoopback4:
		return []expr.Any{meta(expr.MetaKeyNFPROTO), equal([]byte{unix.NFPROTO_IPV4}), payload(expr.PayloadBaseNetworkHeader, 16, 1), equal([]byte{127})}
	case rules.KeyToLoopback6:
		return []expr.Any{meta(expr.MetaKeyNFPROTO), equal([]byte{unix.NFPROTO_IPV6}), payload(expr.PayloadBaseNetworkHeader, 24, 16), equal(net.IPv6loopback)}
	case rules.KeyIPv6Dst:
		return []expr.Any{meta(expr.MetaKeyNFPROTO), equal([]byte{unix.NFPROTO_IPV6}), payload(expr.PayloadBaseNetworkHeader, 24, 16)}
	case rules.KeyTCP:
		return protocol(unix.IPPROTO_TCP)
	case rules.KeyIGMP:
		return protocol(unix.IPPROTO_IGMP)
	case rules.KeyTCPPort:
		return append(protocol(unix.IPPROTO_TCP), payload(expr.PayloadBaseTransportHeader, 2, 2))
	case rules.KeyUDPPort:
		return append(protocol(unix.IPPROTO_UDP), payload(expr.PayloadBaseTransportHeader, 2, 2))
	case rules.KeyTCPSrcPort:
		return append(protocol(unix.IPPROTO_TCP), payload(expr.PayloadBaseTransportHeader, 0, 2))
	case rules.KeyUDPSrcPort:
		return append(protocol(unix.IPPROTO_UDP), payload(expr.PayloadBaseTransportHeader, 0, 2))
	}
	return loadState(k)
}

func loadState(k rules.Key) []expr.Any {
	switch k {
	case rules.KeySYN:
		return append(protocol(unix.IPPROTO_TCP),
			payload(expr.PayloadBaseTransportHeader, tcpFlagsOffset, 1),
			&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 1, Mask: []byte{tcpFIN | tcpSYN | tcpRST | tcpACK}, Xor: []byte{0}},
			equal([]byte{tcpSYN}))
	case rules.KeyICMPOther:
		return append(protocol(unix.IPPROTO_ICMP),
			payload(expr.PayloadBaseTransportHeader, 0, 1), unequal([]byte{echoRequest}))
	case rules.KeyICMPv6Other:
		return append(protocol(unix.IPPROTO_ICMPV6),
			payload(expr.PayloadBaseTransportHeader, 0, 1), unequal([]byte{echoRequest6}))
	case rules.KeyOngoing:
		return conntrackBits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED, unequal)
	case rules.KeyFirst:
		return append(loadState(rules.KeySYN), conntrackBits(expr.CtKeySTATUS, statusConfirmed, equal)...)
	case rules.KeyNew:
		return conntrackBits(expr.CtKeySTATE, expr.CtStateBitNEW, unequal)
	case rules.KeyRewritten:
		return conntrackBits(expr.CtKeySTATUS, statusDstNAT, unequal)
	}
	return loadFrame(k)
}

// loadFrame reads frames on their way out of an interface. The kernel knows a
// frame's protocol from whoever sent it; who receives it looks at the frame.
func loadFrame(k rules.Key) []expr.Any {
	switch k {
	case rules.KeyRouted: // only a routed packet has a class, be it 0
		return []expr.Any{meta(expr.MetaKeyRTCLASSID), atLeast(make([]byte, 4))}
	case rules.KeyARP:
		return frame(unix.ETH_P_ARP)
	case rules.KeyNotIP:
		return []expr.Any{payload(expr.PayloadBaseLLHeader, 12, 2), unequal(etherType(unix.ETH_P_IP)), unequal(etherType(unix.ETH_P_IPV6))}
	case rules.KeyFrameIPv4:
		return append(frame(unix.ETH_P_IP), payload(expr.PayloadBaseNetworkHeader, 16, 4))
	case rules.KeyFrameIPv6:
		return append(frame(unix.ETH_P_IPV6), payload(expr.PayloadBaseNetworkHeader, 24, 16))
	case rules.KeyNotTCP:
		return []expr.Any{meta(expr.MetaKeyL4PROTO), unequal([]byte{unix.IPPROTO_TCP})}
	case rules.KeyMadeHere: // one that a bridge passes on was another host's or everybody's when it arrived
		return []expr.Any{meta(expr.MetaKeyPKTTYPE), equal([]byte{unix.PACKET_HOST})}
	case rules.KeyBroadcast:
		return append(frame(unix.ETH_P_IP), payload(expr.PayloadBaseNetworkHeader, 16, 4), equal([]byte{255, 255, 255, 255}))
	case rules.KeyTransport:
		return []expr.Any{meta(expr.MetaKeyL4PROTO), atLeast([]byte{0})}
	}
	panic("nft: a key without a translation")
}

func (t translator) action(a rules.Action) []expr.Any {
	switch a.Kind {
	case rules.ActionAccept:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictAccept}}
	case rules.ActionJump:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictJump, Chain: a.Chain}}
	case rules.ActionRedirect:
		return []expr.Any{
			&expr.Immediate{Register: reg, Data: binary.BigEndian.AppendUint16(nil, a.Port)},
			&expr.Redir{RegisterProtoMin: reg, RegisterProtoMax: reg, Flags: natRangeProtoSpecified},
		}
	case rules.ActionReject:
		return []expr.Any{&expr.Reject{Type: rejectICMPX, Code: icmpxPortUnreachable}}
	case rules.ActionReset:
		return []expr.Any{&expr.Reject{Type: rejectTCPReset}}
	case rules.ActionZone:
		return []expr.Any{
			&expr.Immediate{Register: reg, Data: binaryutil.NativeEndian.PutUint16(rules.DNSZone)},
			&expr.Ct{Register: reg, SourceRegister: true, Key: expr.CtKeyZONE},
		}
	case rules.ActionDrop:
		return []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}
	case rules.ActionAlarm:
		return []expr.Any{
			&expr.Limit{Type: expr.LimitTypePkts, Rate: rules.AlarmRate, Unit: expr.LimitTimeSecond, Burst: rules.AlarmBurst, Over: true},
			meta(expr.MetaKeyNFPROTO),
			&expr.Dynset{SrcRegKey: reg, SetName: a.Set, SetID: t.setID(a.Set), Operation: unix.NFT_DYNSET_OP_UPDATE, Timeout: rules.AlarmTime},
			&expr.Verdict{Kind: expr.VerdictDrop},
		}
	}
	panic("nft: an action without a translation")
}

func meta(key expr.MetaKey) expr.Any { return &expr.Meta{Key: key, Register: reg} }

func equal(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: reg, Data: data}
}

func unequal(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpNeq, Register: reg, Data: data}
}

func atLeast(data []byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpGte, Register: reg, Data: data}
}

func etherType(protocol uint16) []byte { return binary.BigEndian.AppendUint16(nil, protocol) }

func frame(protocol uint16) []expr.Any {
	return []expr.Any{payload(expr.PayloadBaseLLHeader, 12, 2), equal(etherType(protocol))}
}

func payload(base expr.PayloadBase, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: length}
}

func protocol(number byte) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyL4PROTO), equal([]byte{number})}
}

// conntrackBits compares bits with 0.
func conntrackBits(key expr.CtKey, bits uint32, compare func([]byte) expr.Any) []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: reg, Key: key},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		compare(make([]byte, 4)),
	}
}
