package nft

import (
	"encoding/binary"

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
	statusDstNAT           = 1 << 5 // IPS_DST_NAT
	tcpFlagsOffset         = 13
	tcpFIN                 = 0x01
	tcpSYN                 = 0x02
	tcpRST                 = 0x04
	tcpACK                 = 0x10
	echoRequest            = 8
	echoRequest6           = 128
)

// expressions translates a rule; sets gives the identity of sets that the same
// transaction makes.
func expressions(r rules.Rule, sets map[string]*nftables.Set) []expr.Any {
	var out []expr.Any
	for _, m := range r.Matches {
		out = append(out, load(m.Key)...)
		switch {
		case m.Set != "":
			lookup := &expr.Lookup{SourceRegister: reg, SetName: m.Set, Invert: m.Not}
			if set := sets[m.Set]; set != nil {
				lookup.SetID = set.ID
			}
			out = append(out, lookup)
		case m.Port != 0:
			out = append(out, equal(binary.BigEndian.AppendUint16(nil, m.Port)))
		}
	}
	return append(out, action(r.Action)...)
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
	case rules.KeyIPv4Dst:
		return []expr.Any{meta(expr.MetaKeyNFPROTO), equal([]byte{unix.NFPROTO_IPV4}), payload(expr.PayloadBaseNetworkHeader, 16, 4)}
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
		return conntrackBits(expr.CtKeySTATE, expr.CtStateBitESTABLISHED|expr.CtStateBitRELATED)
	case rules.KeyRewritten:
		return conntrackBits(expr.CtKeySTATUS, statusDstNAT)
	}
	panic("nft: a key without a translation")
}

func action(a rules.Action) []expr.Any {
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

func payload(base expr.PayloadBase, offset, length uint32) expr.Any {
	return &expr.Payload{DestRegister: reg, Base: base, Offset: offset, Len: length}
}

func protocol(number byte) []expr.Any {
	return []expr.Any{meta(expr.MetaKeyL4PROTO), equal([]byte{number})}
}

func conntrackBits(key expr.CtKey, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Register: reg, Key: key},
		&expr.Bitwise{SourceRegister: reg, DestRegister: reg, Len: 4, Mask: binaryutil.NativeEndian.PutUint32(bits), Xor: make([]byte, 4)},
		unequal(make([]byte, 4)),
	}
}
