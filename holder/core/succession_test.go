package core

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/holder/wire"
)

func TestWhoHeldBeforeDoesNotSucceed(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		before    []string
		own, asks string
		older     bool
		told      []string // to a successor
	}{
		{nil, "a", "b", false, []string{"a"}},
		{nil, "a", "", false, []string{"a"}},
		{nil, "a", "a", false, []string{"a"}},
		{[]string{"a"}, "b", "a", true, nil},
		{[]string{"a", "b"}, "b", "a", true, nil},
		{[]string{"a", "b"}, "a", "b", false, []string{"a", "b"}}, // it stood in for b
		{[]string{"a", "b"}, "a", "c", false, []string{"a", "b"}},
		{[]string{"a"}, "", "a", false, []string{"a"}}, // nothing is known of this one
	} {
		s := New(Settings{Holder: test.own})
		s.Step(0, Began{Memory: Memory{Holders: test.before}})
		var kind wire.Kind
		var told []string
		request, err := json.Marshal(wire.SuccessionRequest{Versions: wire.Spoken, Holder: test.asks})
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range s.Step(1, Frame{Conn: 1, Kind: wire.Succeed, Payload: request}) {
			send, is := a.(Send)
			if !is || kind != 0 {
				continue
			}
			kind = send.Kind
			switch p := send.Payload.(type) {
			case *wire.Refusal:
				if p.Code != wire.CodeOlder {
					t.Errorf("%+v: refused with %s", test, p.Code)
				}
			case wire.SuccessionReply:
				told = p.Holders
			}
		}
		if older := kind == wire.Refused; older != test.older || !slices.Equal(told, test.told) {
			t.Errorf("%+v: answered %s, with %q", test, kind, told)
		}
	}
}

func TestTheOrderOfHoldersIsRememberedAndBounded(t *testing.T) {
	t.Parallel()
	order := []string{}
	for i := range 2 * maxHolders {
		order = enlist(order, string(rune('a'+i)))
	}
	if len(order) != maxHolders || order[maxHolders-1] != string(rune('a'+2*maxHolders-1)) {
		t.Errorf("%d holders, %q", len(order), order)
	}
	s := New(Settings{Holder: "b"})
	for _, a := range s.Step(0, Began{Memory: Memory{Holders: []string{"a"}}}) {
		if m, is := a.(Remember); is {
			if !slices.Equal(m.Holders, []string{"a", "b"}) {
				t.Errorf("remembered are %q", m.Holders)
			}
			return
		}
	}
	t.Error("the order is not remembered")
}

// What was said is written by another goroutine, while the order goes on changing.
func TestASuccessorIsToldAnOrderThatDoesNotChange(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	s.Step(0, Began{Memory: Memory{Instances: append(make([]string, 0, 8), "a", "b")}})
	s.instances = append(make([]string, 0, 8), s.instances...) // with room, as it is after a while
	request, err := json.Marshal(wire.SuccessionRequest{Versions: wire.Spoken})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, a := range s.Step(1, Frame{Conn: 1, Kind: wire.Succeed, Payload: request}) {
		if send, is := a.(Send); is && send.Kind == wire.Yield {
			told = send.Payload.(wire.SuccessionReply).Instances
		}
	}
	hello, err := json.Marshal(wire.HelloRequest{Versions: wire.Spoken, PID: 2, Instance: "before", Retired: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Step(2, Frame{Conn: 2, Kind: wire.Hello, Payload: hello})
	if !slices.Equal(told, []string{"a", "b"}) {
		t.Errorf("what was said became %q", told)
	}
}
