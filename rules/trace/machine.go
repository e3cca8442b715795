package trace

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// machine runs one rule's expressions over a packet, as nf_tables' own does.
type machine struct {
	*packet
	sets      map[string]set
	registers [80]byte
}

// end is how a rule ends.
type end struct {
	kind  endKind
	chain string // endJump, endGoto
	port  uint16 // endRedirect
}

type endKind uint8

const (
	endNone endKind = iota // it does not match, or says nothing
	endAccept
	endDrop
	endReject
	endRedirect
	endJump
	endGoto
	endReturn
	endContinue // it does something, and the walk goes on
)

func (e end) String() string {
	switch e.kind {
	case endRedirect:
		return fmt.Sprintf("redirect to :%d", e.port)
	case endJump:
		return "jump " + e.chain
	case endGoto:
		return "goto " + e.chain
	}
	return [...]string{"", "accept", "drop", "reject", "", "", "", "return", "continue"}[e.kind]
}

// run is the end of the first expression that has one. An expression that does not
// match ends the rule.
func (m *machine) run(exprs []expr.Any) (end, error) {
	acted := false
	for _, e := range exprs {
		matched, out, err := m.step(e)
		if err != nil || !matched {
			return end{}, err
		}
		if out.kind != endNone && out.kind != endContinue {
			return out, nil
		}
		acted = acted || out.kind == endContinue
	}
	if acted {
		return end{kind: endContinue}, nil
	}
	return end{}, nil
}

func (m *machine) step(e expr.Any) (matched bool, out end, err error) {
	switch e := e.(type) {
	case *expr.Meta:
		return m.meta(e)
	case *expr.Payload:
		return m.payload(e)
	case *expr.Cmp:
		return m.compare(e), end{}, nil
	case *expr.Bitwise:
		value := m.value(e.SourceRegister, int(e.Len))
		for i := range value {
			value[i] = value[i]&e.Mask[i] ^ e.Xor[i]
		}
		m.store(e.DestRegister, value)
		return true, end{}, nil
	case *expr.Lookup:
		return m.lookup(e)
	case *expr.Ct:
		return m.conntrack(e)
	case *expr.Fib:
		return m.fib(e)
	case *expr.Immediate:
		m.store(e.Register, e.Data)
		return true, end{}, nil
	case *expr.Limit:
		return !e.Over, end{}, nil // one packet is within every limit
	case *expr.Dynset, *expr.Counter, *expr.Log:
		return true, end{}, nil
	case *expr.Reject:
		return true, end{kind: endReject}, nil
	case *expr.Redir:
		port := binary.BigEndian.Uint16(m.value(e.RegisterProtoMin, 2))
		return true, end{kind: endRedirect, port: port}, nil
	case *expr.Verdict:
		return m.verdict(e)
	}
	return false, end{}, fmt.Errorf("%w: it holds %T", ErrUnreadable, e)
}

func (m *machine) verdict(e *expr.Verdict) (bool, end, error) {
	kinds := map[expr.VerdictKind]endKind{
		expr.VerdictAccept: endAccept, expr.VerdictDrop: endDrop, expr.VerdictReturn: endReturn,
		expr.VerdictJump: endJump, expr.VerdictGoto: endGoto, expr.VerdictContinue: endContinue,
	}
	kind, known := kinds[e.Kind]
	if !known {
		return false, end{}, fmt.Errorf("%w: its verdict is %d", ErrUnreadable, e.Kind)
	}
	return true, end{kind: kind, chain: e.Chain}, nil
}

// at is where a register begins: four of 16 bytes, which are also sixteen of 4.
func at(register uint32) int {
	if register < unix.NFT_REG32_00 {
		return int(register) * 16
	}
	return 16 + int(register-unix.NFT_REG32_00)*4
}

func (m *machine) store(register uint32, value []byte) {
	where := m.registers[at(register):]
	clear(where[:min(16, len(where))])
	copy(where, value)
}

func (m *machine) value(register uint32, n int) []byte {
	return bytes.Clone(m.registers[at(register):][:n])
}

func (m *machine) meta(e *expr.Meta) (bool, end, error) {
	if e.SourceRegister {
		return false, end{}, fmt.Errorf("%w: it changes the packet", ErrUnreadable)
	}
	number := func(n uint32) []byte { return binaryutil.NativeEndian.PutUint32(n) }
	var value []byte
	switch e.Key {
	case expr.MetaKeySKUID, expr.MetaKeySKGID:
		if m.InInterface != "" {
			return false, end{}, nil // nobody here sent it
		}
		value = number(map[expr.MetaKey]uint32{expr.MetaKeySKUID: m.UID, expr.MetaKeySKGID: m.GID}[e.Key])
	case expr.MetaKeyMARK:
		value = number(m.Mark)
	case expr.MetaKeyNFPROTO:
		value = []byte{m.family}
	case expr.MetaKeyL4PROTO:
		value = []byte{byte(m.Protocol)}
	case expr.MetaKeyOIFNAME:
		value = interfaceName(m.OutInterface)
	case expr.MetaKeyIIFNAME:
		value = interfaceName(m.InInterface)
	default:
		return false, end{}, fmt.Errorf("%w: it asks for meta key %d", ErrUnreadable, e.Key)
	}
	m.store(e.Register, value)
	return true, end{}, nil
}

func interfaceName(name string) []byte {
	out := make([]byte, 16)
	copy(out, name)
	return out
}

func (m *machine) payload(e *expr.Payload) (bool, end, error) {
	header := m.transport
	switch {
	case e.OperationType != expr.PayloadLoad:
		return false, end{}, fmt.Errorf("%w: it changes the packet", ErrUnreadable)
	case e.Base == expr.PayloadBaseNetworkHeader:
		header = m.network
	case e.Base != expr.PayloadBaseTransportHeader:
		return false, end{}, fmt.Errorf("%w: it reads header %d", ErrUnreadable, e.Base)
	}
	if int(e.Offset+e.Len) > len(header) {
		return false, end{}, nil
	}
	m.store(e.DestRegister, header[e.Offset:e.Offset+e.Len])
	return true, end{}, nil
}

func (m *machine) compare(e *expr.Cmp) bool {
	c := bytes.Compare(m.value(e.Register, len(e.Data)), e.Data)
	switch e.Op {
	case expr.CmpOpEq:
		return c == 0
	case expr.CmpOpNeq:
		return c != 0
	case expr.CmpOpLt:
		return c < 0
	case expr.CmpOpLte:
		return c <= 0
	case expr.CmpOpGt:
		return c > 0
	}
	return c >= 0
}

func (m *machine) lookup(e *expr.Lookup) (bool, end, error) {
	s, known := m.sets[e.SetName]
	if !known || e.IsDestRegSet {
		return false, end{}, fmt.Errorf("%w: it looks in %s", ErrUnreadable, e.SetName)
	}
	if s.cgroups {
		return m.inCgroup(s, e.Invert), end{}, nil
	}
	found := s.holds(m.value(e.SourceRegister, s.width))
	return found != e.Invert, end{}, nil
}

// inCgroup looks the sender up. The library does not read back what the rule asks
// the socket for, so any of the cgroups it is in may match; the level that a rule
// names is counted from the root of whoever loaded it anyway.
func (m *machine) inCgroup(s set, invert bool) bool {
	if m.InInterface != "" || len(m.cgroups) == 0 {
		return false
	}
	found := false
	for _, id := range m.cgroups {
		found = found || s.holds(binaryutil.NativeEndian.PutUint64(id))
	}
	return found != invert
}

// conntrack: the packet begins a connection that nothing is known of.
func (m *machine) conntrack(e *expr.Ct) (bool, end, error) {
	if e.SourceRegister || e.Key == expr.CtKeyZONE { // the library does not read back that a zone is set
		return true, end{kind: endContinue}, nil
	}
	var value uint32
	switch e.Key {
	case expr.CtKeySTATE:
		value = expr.CtStateBitNEW
	case expr.CtKeySTATUS:
		if m.redirected {
			value = statusDstNAT
		}
	default:
		return false, end{}, fmt.Errorf("%w: it asks conntrack for key %d", ErrUnreadable, e.Key)
	}
	m.store(e.Register, binaryutil.NativeEndian.PutUint32(value))
	return true, end{}, nil
}

const statusDstNAT = 1 << 5 // IPS_DST_NAT

func (m *machine) fib(e *expr.Fib) (bool, end, error) {
	if !e.ResultADDRTYPE || e.FlagDADDR == e.FlagSADDR {
		return false, end{}, fmt.Errorf("%w: it asks for a route", ErrUnreadable)
	}
	kind := uint32(unix.RTN_UNICAST)
	if m.OutInterface == "lo" || e.FlagSADDR && m.InInterface == "" { // a process sends with an address of its own
		kind = unix.RTN_LOCAL
	}
	m.store(e.Register, binaryutil.NativeEndian.PutUint32(kind))
	return true, end{}, nil
}
