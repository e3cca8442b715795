package core

import (
	"encoding/json"
	"slices"
	"testing"

	"github.com/sluice-cni/sluice/holder/wire"
)

// An agent's answer stands before what it is brought: two that release at once must not
// wait for each other.
func TestOnlyAPluginIsAnsweredAfterTheAgentsWereTold(t *testing.T) {
	t.Parallel()
	s := New(Settings{})
	s.Step(0, Began{})
	frame := func(conn Conn, k wire.Kind, payload any) []Action {
		t.Helper()
		text, err := json.Marshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		return s.Step(1, Frame{Conn: conn, Kind: k, Payload: text})
	}
	for conn := range Conn(2) {
		frame(conn+1, wire.Hello, wire.HelloRequest{Versions: wire.Spoken, PID: int(conn) + 10})
	}
	for conn, want := range map[Conn][]Conn{1: nil, 3: {1, 2}} {
		for _, a := range frame(conn, wire.Release, wire.Releasing{ContainerID: "c"}) {
			if send, is := a.(Send); is && (send.Kind != wire.Released || !slices.Equal(send.After, want)) {
				t.Errorf("%d is answered %s after %v, not after %v", conn, send.Kind, send.After, want)
			}
		}
	}
}
