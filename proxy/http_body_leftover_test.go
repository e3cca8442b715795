package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
)

// What was collected of a body before its bad chunk is not sent in front of
// another client's body. The state of a connection is used again by later ones.
func TestABadChunkLeavesNothingForAnotherClient(t *testing.T) {
	t.Parallel()
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) }))
	t.Cleanup(up.Close)
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up.Listener.Addr().String()))
	const head = "POST / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
	for range 20 {
		if got := r.raw(head + "6\r\nsecret\r\nZZ\r\n"); !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Fatalf("a bad chunk was answered %q", got)
		}
		got := r.raw(head + "5\r\nhello\r\n0\r\n\r\n")
		if !strings.Contains(got, "hello") || strings.Contains(got, "secret") {
			t.Fatalf("another client's request was answered %q", got)
		}
	}
}
