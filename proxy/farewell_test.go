package proxy_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// Old clients send an empty line after a request, and some send the next request
// before they know that there is none. Neither costs them an answer that they have not
// read yet.
func TestBytesAfterTheLastRequestDoNotDestroyItsAnswer(t *testing.T) {
	t.Parallel()
	long := bytes.Repeat([]byte("x"), 512<<10) // more than a client takes unread, less than the proxy may write ahead
	asked, answer := make(chan struct{}), make(chan struct{})
	up := serve(t, func(w http.ResponseWriter, req *http.Request) {
		asked <- struct{}{}
		<-answer
		w.Header().Set("Content-Length", fmt.Sprint(len(long)))
		w.Write(long)
	})
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, up))
	for name, text := range map[string]string{
		"1.0":   "GET / HTTP/1.0\r\nHost: a.test\r\n\r\n",
		"close": "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
	} {
		c := r.dial()
		c.SetReadBuffer(16 << 10)
		io.WriteString(c, text)
		<-asked // so the head has been read, and what follows has not
		io.WriteString(c, "\r\n")
		answer <- struct{}{}
		logged := strings.Count(r.access.String(), "\n")
		await.True(t, "the answer is logged", func() bool { return strings.Count(r.access.String(), "\n") > logged })
		got, err := io.ReadAll(c)
		if err != nil || !bytes.HasSuffix(got, long) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
}
