package aside

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// serve answers 404 at an address until it is stopped.
func serve(t *testing.T) (address string, stop func(), ended <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Serve(ctx, l, http.NotFoundHandler()) }()
	return l.Addr().String(), stop, done
}

func TestClientsThatHoldConnectionsCannotKeepTheEndpointFromEnding(t *testing.T) {
	t.Parallel()
	address, stop, ended := serve(t)
	for i := range MaxClients + 8 {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if i%2 == 0 {
			fmt.Fprint(c, "GET /metrics HTTP/1.1\r\nHost: a\r\n") // and never the end
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(20 * StopWithin):
		t.Error("it goes on")
	}
}

func TestTooLargeAHeadIsRefused(t *testing.T) {
	t.Parallel()
	address, stop, ended := serve(t)
	t.Cleanup(func() { stop(); <-ended })
	request, err := http.NewRequest(http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("X-Large", fmt.Sprint(make([]byte, 2*MaxHeadBytes)))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	io.Copy(io.Discard, response.Body)
	if response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("%s", response.Status)
	}
}
