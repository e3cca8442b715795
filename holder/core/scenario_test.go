package core

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/scenario"
)

// Scenarios are testdata/*.txt (see package scenario):
//
//   - TIME EVENT [CONN] key=value…     an event, at that time since the start
//     ? status                           asks for the state
//
// Namespaces are numbered by their inodes; Next is followed: ticks that are due before
// an event's time come first, and are printed as "+ TIME tick" of their own.
func TestScenarios(t *testing.T) {
	t.Parallel()
	scenario.Run(t, func(t *testing.T, out *scenario.Transcript) scenario.Player {
		return &player{State: New(Settings{WaitLimit: 30 * time.Second, Build: "v1", PID: 1}), t: t, out: out}
	})
}

type player struct {
	*State
	t   *testing.T
	out *scenario.Transcript
	due string // the tick that was just printed by itself
}

func (p *player) Do(line string, words []string) {
	at, e, err := parseEvent(words)
	if err != nil {
		p.t.Fatalf("%s: %v", line, err)
	}
	if _, tick := e.(Tick); tick && p.due == line {
		return
	}
	for next, wanted := p.Next(); wanted && next < at; next, wanted = p.Next() {
		p.due = "+ " + time.Duration(next).String() + " tick"
		p.out.Line(p.due)
		show(p.out, p.Step(next, Tick{}))
	}
	if fmt.Sprintf("+ %s tick", time.Duration(at)) == line {
		p.due = line
	}
	p.out.Line(line)
	show(p.out, p.Step(at, e))
}

func (p *player) Ask(line string, words []string) {
	p.out.Line(line)
	if words[0] != "status" {
		p.t.Fatalf("%s: no such question", line)
	}
	for _, pod := range p.Status().Pods {
		p.out.Answer("pod %d %s %s sockets=%v reason=%q", pod.Inode, pod.Policy, pod.State, pod.Sockets, pod.Reason)
	}
	for _, a := range p.Status().Agents {
		p.out.Answer("agent %d serving=%t retired=%t", a.PID, a.Serving, a.Retired)
	}
}

func show(out *scenario.Transcript, actions []Action) {
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			out.Action("send %d %s%s%s", a.Conn, a.Kind, showPayload(a.Payload), showBundle(a.Bundle))
		case Close:
			out.Action("close %d %q", a.Conn, a.Why)
		case Save:
			out.Action("save %d", a.Holding.Inode)
		case Forget:
			out.Action("forget %d", a.Netns.Inode)
		case Reopen:
			out.Action("reopen %d any port=%t%s", a.Holding.Inode, a.AnyPort, showBundle(a.Bundle))
		case Remember:
			out.Action("remember %s %d agents", a.Exemption, len(a.Agents))
		case Log:
			out.Action("log %s %s %v", a.Level, a.Text, a.Attributes)
		default:
			name := strings.ToLower(strings.TrimPrefix(fmt.Sprintf("%T", a), "core."))
			out.Action("%s", strings.TrimSpace(name+" "+strings.Trim(fmt.Sprint(a), "{}")))
		}
	}
}

func showPayload(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case wire.Holding:
		return fmt.Sprintf(" netns=%d cookie=%d policy=%s", v.Inode, v.Cookie, v.Policy)
	case wire.HolderStatus:
		return " …"
	}
	text, _ := json.Marshal(v)
	return " " + strings.ReplaceAll(string(text), `"`, "")
}

func showBundle(b Bundle) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf(" bundle=%d", b)
}

// parseEvent reads "30s hold 1 netns=7 …".
func parseEvent(words []string) (at int64, e Event, err error) {
	if len(words) < 2 {
		return 0, nil, fmt.Errorf("%q: wants a time and an event", words)
	}
	d, err := time.ParseDuration(words[0])
	if err != nil {
		return 0, nil, err
	}
	name, rest := words[1], words[2:]
	var conn Conn
	if len(rest) > 0 {
		if n, err := strconv.Atoi(rest[0]); err == nil {
			conn, rest = Conn(n), rest[1:]
		}
	}
	o := options{words: rest}
	e = o.event(name, conn)
	if e == nil {
		return 0, nil, fmt.Errorf("%q: no such event", name)
	}
	return int64(d), e, o.err
}

type options struct {
	words []string
	err   error
}

func (o options) text(key string) string {
	for _, w := range o.words {
		if k, v, _ := strings.Cut(w, "="); k == key {
			return strings.ReplaceAll(v, "_", " ")
		}
	}
	return ""
}

func (o *options) number(key string) uint64 {
	if o.text(key) == "" {
		return 0
	}
	n, err := strconv.ParseUint(o.text(key), 10, 64)
	if err != nil {
		o.err = err
	}
	return n
}

func (o options) has(word string) bool { return slices.Contains(o.words, word) }

func (o *options) duration(key string) time.Duration {
	if o.text(key) == "" {
		return 0
	}
	d, err := time.ParseDuration(o.text(key))
	if err != nil {
		o.err = err
	}
	return d
}

func (o *options) netns() wire.Netns { return wire.Netns{Device: 4, Inode: o.number("netns")} }

func (o *options) holding() wire.Holding {
	h := wire.Holding{Netns: o.netns(), Policy: wire.PolicyBlock, Gate: o.duration("gate"), Cookie: o.number("cookie"),
		Found: o.has("found"), Watched: o.has("watched"), Sockets: []wire.Socket{{Role: wire.RoleTCP, Network: "tcp4", Port: 15001}}}
	if o.has("dns") {
		h.Sockets = append(h.Sockets, wire.Socket{Role: wire.RoleDNSPacket, Network: "udp4", Port: 15053})
	}
	if h.Gate > 0 {
		h.Policy = wire.PolicyBypass
	}
	if c := o.text("container"); c != "" {
		h.ContainerID, h.Interface, h.Path = c, "eth0", "/run/netns/"+c
		h.Pod = wire.PodName{Namespace: "shop", Name: c}
	}
	return h
}

func (o *options) event(name string, conn Conn) Event {
	frame := func(k wire.Kind, payload any) Event {
		text, err := json.Marshal(payload)
		if err != nil {
			o.err = err
		}
		return Frame{Conn: conn, Kind: k, Payload: text}
	}
	bundle := Bundle(o.number("bundle"))
	switch name {
	case "began":
		b := Began{Fresh: o.has("fresh"), Memory: Memory{Exemption: o.text("exemption")}}
		if all := o.text("instances"); all != "" {
			b.Instances = strings.Split(all, ",")
		}
		if pid := int(o.number("agent")); pid != 0 {
			b.Agents = []wire.AgentInfo{{PID: pid, Build: "v1", Serving: true, Agents: wire.Agents{Levels: []int{2}, IDs: []uint64{uint64(pid)}},
				Process: wire.Process{PID: pid, Start: 1, Namespace: 1}}}
		}
		return b
	case "inherited":
		return Inherited{Holding: o.holding(), Bundle: bundle, Broken: o.has("broken")}
	case "hold", "keep":
		kind := wire.Hold
		if name == "keep" {
			kind = wire.Keep
		}
		return Offered{Conn: conn, Kind: kind, Holding: o.holding(), Bundle: bundle, Problem: o.text("problem"), PathGone: o.has("pathgone")}
	case "closed":
		return Closed{conn}
	case "died":
		return Died{wire.Process{PID: int(o.number("agent")), Start: 1, Namespace: 1}}
	case "left":
		return Left{Netns: o.netns(), Why: "its path is gone"}
	case "reopened":
		return Reopened{Netns: o.netns(), Bundle: bundle, Cookie: o.number("cookie"), Problem: o.text("problem"),
			Sockets: []wire.Socket{{Role: wire.RoleTCP, Network: "tcp4", Port: uint16(o.number("port"))}}}
	case "tick":
		return Tick{}
	case "hello":
		h := wire.HelloRequest{Versions: wire.Versions{Min: 1, Max: 1}, PID: int(o.number("pid")), Build: "v1", Exemption: wire.ExemptByCgroup,
			Agents: wire.Agents{Levels: []int{2}, IDs: []uint64{o.number("pid")}}, Retired: o.has("retired"), Serving: o.has("serving"), ServingFor: o.duration("for"),
			Instance: o.text("instance"), InstanceNumber: int64(o.number("number")), StandsBy: o.has("standsby")}
		for _, pair := range strings.Fields(strings.ReplaceAll(o.text("have"), ",", " ")) {
			var have wire.Have
			have.Device = 4
			if _, err := fmt.Sscanf(pair, "%d:%d", &have.Inode, &have.Cookie); err != nil {
				o.err = err
			}
			h.Have = append(h.Have, have)
		}
		if o.has("old") {
			h.Versions = wire.Versions{Min: 0, Max: 0}
		}
		return frame(wire.Hello, h)
	case "retired":
		return frame(wire.Retired, wire.Retirement{Ends: o.has("ends")})
	case "ack":
		return frame(wire.Ack, wire.Acknowledgement{Netns: o.netns(), Error: o.text("error")})
	case "seen":
		return frame(wire.Seen, wire.Sight{Seq: o.number("seq")})
	case "release":
		r := wire.Releasing{ContainerID: o.text("container"), Interface: "eth0"}
		if o.has("all") {
			r.Interface = ""
		}
		if n := o.netns(); n.Inode != 0 {
			r.Netns = &n
		}
		return frame(wire.Release, r)
	case "succeed":
		return frame(wire.Succeed, wire.SuccessionRequest{Versions: wire.Spoken, PID: int(o.number("pid")), Build: "v2"})
	case "unknown":
		return Frame{Conn: conn, Kind: 200}
	case "nonsense":
		return Frame{Conn: conn, Kind: wire.Hello, Payload: json.RawMessage(`{"pid":"x"`)}
	}
	for kind := wire.Kind(1); kind.Known(); kind++ {
		if kind.String() == name {
			return Frame{Conn: conn, Kind: kind}
		}
	}
	return nil
}
