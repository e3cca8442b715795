package http2

import (
	"errors"
	"net"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	xhttp2 "golang.org/x/net/http2"
)

func TestAPeerThatDoesNotAnswerPingsIsGivenUp(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	ours, theirs := pair(t)
	c := Client(ours, Config{Ping: 30 * time.Millisecond, PingTimeout: 100 * time.Millisecond})
	go func() { ended <- c.Run() }()
	fr := xhttp2.NewFramer(theirs, theirs)
	theirs.Read(make([]byte, len(Preface)))
	fr.WriteSettings()
	answers := 3
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			break
		}
		if ping, ok := f.(*xhttp2.PingFrame); ok && !ping.IsAck() && answers > 0 {
			answers--
			fr.WritePing(true, ping.Data)
		}
	}
	if answers > 0 {
		t.Errorf("%d PINGs too few", answers)
	}
	select {
	case err := <-ended:
		if !errors.Is(err, ErrSilent) {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(await.Patience):
		t.Error("it did not end")
	}
}

func TestAPeerThatAnswersPingsIsKept(t *testing.T) {
	t.Parallel()
	ours, theirs := pair(t)
	c := Client(ours, Config{Ping: 5 * time.Millisecond, PingTimeout: 5 * time.Second})
	ended := make(chan error, 1)
	go func() { ended <- c.Run() }()
	fr := xhttp2.NewFramer(theirs, net.Conn(theirs))
	theirs.Read(make([]byte, len(Preface)))
	fr.WriteSettings()
	for pings := 0; pings < 200; { // many more than the noise that is put up with
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("after %d PINGs: %v", pings, err)
		}
		if ping, ok := f.(*xhttp2.PingFrame); ok && !ping.IsAck() {
			pings++
			fr.WritePing(true, ping.Data)
		}
	}
	c.Close()
	<-ended
}
