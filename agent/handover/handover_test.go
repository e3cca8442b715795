package handover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/internal/heard"
	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.Main(m) }

// saysWho answers with a name.
func saysWho(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) })
}

// whoAnswers at an address.
func whoAnswers(t *testing.T, network, address string) string {
	t.Helper()
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}}}
	r, err := client.Get("http://agent/")
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return string(body)
}

// answersInTheEnd asks until want answers.
func answersInTheEnd(t *testing.T, network, address, want string) {
	t.Helper()
	got := ""
	if !await.Within(await.Patience, func() bool { got = whoAnswers(t, network, address); return got == want }) {
		t.Errorf("%s answers, not %s", got, want)
	}
}

// listening is a socket of an agent that says nothing of it.
func listening(t *testing.T, path string) *Socket {
	t.Helper()
	s, err := Listen(path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// serving runs serve until the test ends.
func serving(t *testing.T, serve func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	})
}

// The socket's name leads to the agent that serves: to the second once it has taken over,
// and to the first again when that is gone and it resumes.
func TestTheAgentThatServesIsTheOneThatIsAsked(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), SocketName)
	start := func(name string) *Socket {
		t.Helper()
		s := listening(t, path)
		serving(t, func(ctx context.Context) error { return s.Serve(ctx, saysWho(name)) })
		return s
	}
	asked := func(want string) {
		t.Helper()
		if got := whoAnswers(t, "unix", path); got != want {
			t.Errorf("asked is %s, not %s", got, want)
		}
	}
	first := start("first")
	asked("first")
	first.own = path + ".1" // it is another process
	second := start("second")
	asked("first")
	second.Take()
	asked("second")
	second.Remove()
	first.Retake()
	asked("first")
	first.Remove()
}

// Of two agents that serve for a moment, as in a holder's upgrade during agents', the one
// that goes on has the name in the end; and a directory that is removed is made anew.
func TestTheCommonSocketComesBackToWhoServes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "run", SocketName)
	start := func(name string) *Socket {
		t.Helper()
		s := listening(t, path)
		serving(t, func(ctx context.Context) error { return s.Serve(ctx, saysWho(name)) })
		serving(t, s.Keep)
		return s
	}
	asked := func(want string) { t.Helper(); answersInTheEnd(t, "unix", path, want) }
	old := start("old")
	old.mu.Lock()
	old.own = path + ".1" // it is another process
	old.mu.Unlock()
	young := start("young")
	young.Take()
	old.Give()
	asked("young")
	old.Retake() // nobody told the holder yet that the young one serves
	young.Take()
	old.Give()
	asked("young")
	old.Retake()
	old.Remove() // and ends with the name
	asked("young")
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	asked("young")
	young.Remove()
}

// One agent after the other listens at the address of the metrics, and the first again.
func TestTheAddressOfTheMetricsIsHandedOverAndBack(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	start := func(name string) *Address {
		o := At(address, slog.New(slog.DiscardHandler))
		serving(t, func(ctx context.Context) error { o.Serve(ctx, saysWho(name)); return nil })
		return o
	}
	answers := func(want string) { t.Helper(); answersInTheEnd(t, "tcp", address, want) }
	first := start("first")
	answers("first")
	second := start("second")
	first.End()
	answers("second")
	second.End()
	first.Resume()
	answers("first")
}

// The address comes to the node when the agent runs already, as an IPv6 address is not there
// while its duplicate address detection runs; and another has the port until it ends.
func TestMetricsAreServedOnceTheirAddressCanBeHad(t *testing.T) {
	t.Parallel()
	for name, comes := range map[string]netip.Prefix{"IPv4": netip.MustParsePrefix("192.0.2.7/32"), "IPv6": netip.MustParsePrefix("2001:db8::7/128")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var said heard.Text
			address := netip.AddrPortFrom(comes.Addr(), 15090).String()
			o := At(address, slog.New(slog.NewTextHandler(&said, nil)))
			serving(t, func(ctx context.Context) error { o.Serve(ctx, saysWho("agent")); return nil })
			says := func(message string) {
				t.Helper()
				await.True(t, message, func() bool { return strings.Contains(said.String(), message) })
			}
			says("cannot assign requested address")
			if err := lab.AddAddress("lo", comes); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { // for -count
				link, err := netlink.LinkByName("lo")
				if err == nil {
					err = netlink.AddrDel(link, &netlink.Addr{IPNet: &net.IPNet{IP: comes.Addr().AsSlice(), Mask: net.CIDRMask(comes.Bits(), comes.Bits())}})
				}
				if err != nil {
					t.Error(err)
				}
			})
			answersInTheEnd(t, "tcp", address, "agent")
			o.End()
			var other net.Listener
			await.True(t, "the address is free", func() bool {
				var err error
				other, err = net.Listen("tcp", address)
				return err == nil
			})
			o.Resume()
			says("metrics wait")
			other.Close()
			answersInTheEnd(t, "tcp", address, "agent")
			if lines := strings.Count(said.String(), "\n"); lines != 4 {
				t.Errorf("each change of state is to be said once:\n%s", said.String())
			}
		})
	}
}

// Who comes finds nobody at the common name, since it was removed just then: the one that
// serves takes it back once, and is not in turn taken for wrong.
func TestWhoDoesNotServeLeavesTheCommonSocketToWhoDoes(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), SocketName)
	start := func() *Socket {
		t.Helper()
		s := listening(t, path)
		t.Cleanup(s.Remove)
		return s
	}
	serves := start()
	serves.Take()
	serves.own = path + ".1" // it is another process
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	comes := start()
	if !comes.leadsHere() {
		t.Error("nobody is asked")
	}
	if !serves.takeBack() || comes.takeBack() || !serves.leadsHere() {
		t.Error("it is not the one that serves that is asked")
	}
	comes.Take()
	serves.Give()
	if serves.takeBack() || !comes.leadsHere() {
		t.Error("it is not the one that has taken over that is asked")
	}
}

func TestSocketsOfAgentsThatWereKilledAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, SocketName)
	long := time.Now().Add(-time.Hour)
	lives := path + ".3"
	for _, name := range []string{path + ".1", path + ".2", lives, path + ".kept"} {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if name == lives {
			defer l.Close()
		} else {
			l.Close()
		}
		if name != path+".2" { // which has just been made
			if err := os.Chtimes(name, long, long); err != nil {
				t.Fatal(err)
			}
		}
	}
	defer listening(t, path).Remove()
	var left []string
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if want := "agent.sock agent.sock.2 agent.sock.3 agent.sock.kept"; err != nil || strings.Join(left, " ") != want {
		t.Errorf("left are %q, %v", left, err)
	}
}
