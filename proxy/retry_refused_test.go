package proxy_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// refuser answers 200 but for POSTs, whose streams it refuses.
func refuser(t *testing.T, refused *atomic.Int32) (address string) {
	return tcpServer(t, func(c *net.TCPConn) {
		io.ReadFull(c, make([]byte, len(http2.ClientPreface)))
		fr := http2.NewFramer(c, c)
		fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		fr.WriteSettings()
		var block strings.Builder
		hpack.NewEncoder(&block).WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			request, ok := f.(*http2.MetaHeadersFrame)
			switch {
			case !ok:
			case request.PseudoValue("method") == "POST":
				refused.Add(1)
				fr.WriteRSTStream(request.StreamID, http2.ErrCodeRefusedStream)
			default:
				fr.WriteHeaders(http2.HeadersFrameParam{StreamID: request.StreamID, BlockFragment: []byte(block.String()), EndHeaders: true, EndStream: true})
			}
		}
	})
}

// A stream that a server refuses is tried again as often as the policy says: twice
// where nothing is written.
func TestARefusedStreamIsTriedAgainByThePolicy(t *testing.T) {
	t.Parallel()
	for retries, want := range map[string]struct {
		streams int32
		flags   string
		words   string
	}{
		"":                                       {3, "UR,URX", "retried and the latest reset reason: remote refused stream reset"},
		"{attempts: 5, retryOn: refused-stream}": {6, "UR,URX", "retried and the latest reset reason: remote refused stream reset"},
		"{attempts: 1, retryOn: 5xx}":            {2, "UR,URX", "retried and the latest reset reason: remote refused stream reset"},
		"{attempts: 1, retryOn: connect-failure}": {1, "UR", "headers. reset reason: remote refused stream reset"},
		"{attempts: 0}": {1, "UR", "headers. reset reason: remote refused stream reset"},
	} {
		for _, app := range []string{"h1", "h2"} {
			var refused atomic.Int32
			rules := static("a", "a.test", "HTTP2", 80, refuser(t, &refused))
			if retries != "" {
				rules += retrying(retries)
			}
			r := newRig(t, mesh.RegistryOnly, rules)
			c := mode{app: app}.client(r)
			for _, method := range []string{"GET", "POST"} { // the first tells the server's settings
				req, _ := http.NewRequest(method, "http://a.test/", strings.NewReader("x"))
				resp, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if method == "GET" {
					continue
				}
				if resp.StatusCode != 503 || !strings.HasSuffix(string(body), want.words) || refused.Load() != want.streams {
					t.Errorf("%s %q: %d streams, %s %q; want %+v", app, retries, refused.Load(), resp.Status, body, want)
				}
				await.Silence(t, func() string { return r.notLogged(`"response_code":503,"response_flags":"` + want.flags + `"`) })
			}
		}
	}
}
