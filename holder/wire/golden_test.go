package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write testdata anew; only for frames that no release has sent yet")

// messages has one of each kind with every field set, as version 1 sends it.
func messages() []struct {
	kind    Kind
	payload any
} {
	netns := Netns{Device: 4, Inode: 4026532281}
	exempt := Agents{Levels: []int{1, 2}, IDs: []uint64{8123, 9001}}
	info := AgentInfo{PID: 4711, Build: "v1.2.3", Agents: exempt, Serving: true, Retired: true,
		Process: Process{PID: 4711, Start: 99, Namespace: 4026531836}}
	holding := Holding{Netns: netns, Attachment: Attachment{ContainerID: "3f2a", Interface: "eth0", Path: "/run/netns/cni-1"},
		Pod:     PodName{Namespace: "shop", Name: "cart-0", UID: "c0ffee"},
		Sockets: []Socket{{RoleTCP, "tcp4", 15001}, {RoleTCP, "tcp6", 15001}, {RoleDNSPacket, "udp4", 15053}, {RoleDNSStream, "tcp4", 15053}},
		Policy:  PolicyBypass, Gate: 10 * time.Second, Document: json.RawMessage(`{"network":"lan"}`), Found: true,
		Cookie: 77, Watched: true, Everywhere: true}
	type m = struct {
		kind    Kind
		payload any
	}
	return []m{
		{Hold, holding}, {Held, HeldReply{Agent: true, Exemption: ExemptByMark}},
		{Release, Releasing{ContainerID: "3f2a", Interface: "eth0", Netns: &netns}}, {Released, nil},
		{Refused, Refusal{Code: CodeBusy, Text: "try again"}},
		{Hello, HelloRequest{Versions: Versions{1, 1}, PID: 4711, Build: "v1.2.3", Agents: exempt, Exemption: ExemptByCgroup,
			Have: []Have{{netns, 77}}, Retired: true, StandsBy: true, Instance: "0f6e", InstanceNumber: 1793000000000000000, Serving: true, ServingFor: time.Minute}},
		{Welcome, WelcomeReply{Version: 1, PID: 815, Build: "v1.2.3", Others: []AgentInfo{info}, Want: []Netns{netns}}},
		{Pod, holding}, {End, nil}, {Ack, Acknowledgement{Netns: netns, Error: "no address"}},
		{Take, nil}, {Retire, nil}, {Retired, Retirement{Ends: true}}, {Resume, nil},
		{Gone, Departure{Netns: netns, Why: "released"}}, {Keep, holding},
		{Present, Roster{Seq: 3, Others: []AgentInfo{info}}}, {Seen, Sight{Seq: 3}}, {Alive, nil},
		{Succeed, SuccessionRequest{Versions: Versions{1, 1}, PID: 816, Build: "v1.2.4", Holder: "4f1c"}},
		{Yield, SuccessionReply{Version: 1, PID: 815, Build: "v1.2.3", Pods: 1, Exemption: ExemptByMark, Agents: []AgentInfo{info}, Instances: []string{"0f6e"}, Fresh: true, Holders: []string{"09aa"}}},
		{Took, nil},
		{Status, HolderStatus{Build: "v1.2.3", PID: 815, Agents: []AgentInfo{info}, Counters: map[string]uint64{"holds": 2},
			Pods: []PodStatus{{Netns: netns, Attachment: holding.Attachment, Pod: holding.Pod, Sockets: holding.Sockets, Policy: PolicyBlock,
				State: StateBroken, Reason: "taken", AgentError: "no address"}}}},
	}
}

// Version 1 is what these files say. Every later build reads them, and sends the same
// to who speaks version 1.
func TestVersionOneIsWhatItWas(t *testing.T) {
	t.Parallel()
	kinds := map[Kind]bool{}
	for _, m := range messages() {
		kinds[m.kind] = true
		file := filepath.Join("testdata", "v1", m.kind.String()+".txt")
		frame, err := encode(m.kind, m.payload, 0)
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("% x\n%s\n", frame[:headerSize], frame[headerSize:])
		if *update {
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if string(want) != text {
			t.Errorf("%s is sent as\n%s%s says\n%s", m.kind, text, file, want)
		}
		head, body, _ := strings.Cut(string(want), "\n")
		raw, err := hex.DecodeString(strings.ReplaceAll(head, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		a, b := pair(t)
		if _, err := a.c.Write(append(raw, strings.TrimSuffix(body, "\n")...)); err != nil {
			t.Fatal(err)
		}
		got, err := b.Receive(soon())
		if err != nil || got.Kind != m.kind {
			t.Errorf("%s is read as %v, %v", m.kind, got.Kind, err)
			continue
		}
		if m.payload == nil {
			continue
		}
		v := reflect.New(reflect.TypeOf(m.payload))
		if err := got.Into(v.Interface()); err != nil || !reflect.DeepEqual(v.Elem().Interface(), m.payload) {
			t.Errorf("%s is read as %+v, %v", m.kind, v.Elem(), err)
		}
	}
	for k := Kind(1); k.Known(); k++ {
		if !kinds[k] {
			t.Errorf("%s has no golden frame", k)
		}
	}
}

// A newer peer may say more; a frame with unknown fields is read for what is known.
func TestUnknownFieldsAreIgnored(t *testing.T) {
	t.Parallel()
	m := Message{Kind: Held, Payload: json.RawMessage(`{"agent":true,"weather":{"sun":[1]}}`)}
	var reply HeldReply
	if err := m.Into(&reply); err != nil || !reply.Agent {
		t.Errorf("%+v %v", reply, err)
	}
}

func TestTheNewestCommonVersionIsSpoken(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		a, b Versions
		want int
	}{
		{Versions{1, 1}, Versions{1, 1}, 1}, {Versions{1, 3}, Versions{2, 5}, 3}, {Versions{2, 5}, Versions{1, 3}, 3},
		{Versions{1, 1}, Versions{2, 3}, 0}, {Versions{1, 1}, Versions{}, 0},
	} {
		if got := test.a.Common(test.b); got != test.want {
			t.Errorf("%v and %v speak %d, want %d", test.a, test.b, got, test.want)
		}
	}
}

func TestWhatDoesNotFitIsNotSent(t *testing.T) {
	t.Parallel()
	a, b := pair(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := a.Send(Pod, json.RawMessage(`"`+strings.Repeat("x", MaxPayload)+`"`)); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("a payload too long: %v", err)
	}
	files := make([]*os.File, MaxFiles+1)
	for i := range files {
		files[i] = null
	}
	if err := a.Send(Pod, nil, files...); err == nil || !strings.Contains(err.Error(), "at most 16") {
		t.Errorf("files too many: %v", err)
	}
	long := json.RawMessage(`"` + strings.Repeat("x", MaxPayload-2) + `"`)
	sent := make(chan error, 1)
	go func() { sent <- a.Send(Pod, long, files[1:]...) }()
	m, err := b.Receive(soon())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if !bytes.Equal(m.Payload, long) || len(m.Files) != MaxFiles || <-sent != nil {
		t.Errorf("the longest payload with the most files: %d bytes, %d files, %v", len(m.Payload), len(m.Files), err)
	}
}
