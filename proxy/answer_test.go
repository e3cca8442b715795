package proxy_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// inVersions runs body for an application of each version of HTTP.
func inVersions(t *testing.T, yaml string, body func(t *testing.T, r *rig, c *http.Client)) {
	for _, app := range []string{"h1", "h2"} {
		t.Run(app, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, mesh.RegistryOnly, yaml)
			body(t, r, mode{app: app}.client(r))
		})
	}
}

func TestARuleAnswersByItself(t *testing.T) {
	t.Parallel()
	inVersions(t, static("a", "a.example.com", "HTTP", 80, "127.0.0.1:1")+rules(`
  - match: [{uri: {prefix: /old/}}]
    name: moved
    redirect: {prefixRewrite: /new/, scheme: https, redirectCode: 308}
    headers: {response: {set: {x-rule: "1"}}}
  - match: [{uri: {exact: /none}}]
    directResponse: {status: 204, body: {string: not sent}}
  - match: [{uri: {exact: /large}}]
    directResponse: {status: 200, body: {string: "`+strings.Repeat("0123456789abcdef", 1<<16)+`"}}
  - directResponse: {status: 418, body: {bytes: eyJhIjogMX0=}}
    headers: {response: {set: {content-type: application/json}}}
`), func(t *testing.T, r *rig, c *http.Client) {
		for range 2 {
			resp, body := fetch(t, c, getRequest(t, "http://a.example.com/old/./x?q=1"))
			if resp.StatusCode != 308 || resp.Header.Get("Location") != "https://a.example.com/new/x?q=1" || resp.Header.Get("X-Rule") != "1" || body != "" {
				t.Errorf("redirect: %d %v %q", resp.StatusCode, resp.Header, body)
			}
			resp, body = fetch(t, c, getRequest(t, "http://a.example.com/"))
			if resp.StatusCode != 418 || resp.Header.Get("Content-Type") != "application/json" || body != `{"a": 1}` || resp.ContentLength != 8 {
				t.Errorf("direct response: %d %v %q", resp.StatusCode, resp.Header, body)
			}
			resp, body = fetch(t, c, getRequest(t, "http://a.example.com/none"))
			if resp.StatusCode != 204 || resp.Header["Content-Length"] != nil || resp.Header["Content-Type"] != nil || body != "" {
				t.Errorf("without a body: %d %v %q", resp.StatusCode, resp.Header, body)
			}
			if resp, body = fetch(t, c, getRequest(t, "http://a.example.com/large")); resp.StatusCode != 200 || len(body) != 1<<20 {
				t.Errorf("large: %d, %d bytes", resp.StatusCode, len(body))
			}
			head, _ := http.NewRequest("HEAD", "http://a.example.com/", nil)
			if resp, body = fetch(t, c, head); resp.StatusCode != 418 || resp.ContentLength != 8 || body != "" {
				t.Errorf("HEAD: %d %v %q", resp.StatusCode, resp.Header, body)
			}
			post, _ := http.NewRequest("POST", "http://a.example.com/", strings.NewReader(strings.Repeat("x", 100<<10)))
			if resp, body = fetch(t, c, post); resp.StatusCode != 418 || body != `{"a": 1}` {
				t.Errorf("POST: %d %q", resp.StatusCode, body)
			}
		}
		await.Silence(t, func() string {
			for _, want := range []string{
				`"response_code":308,"response_flags":"-","response_code_details":"direct_response"`, `"path":"/old/./x?q=1"`,
				`"bytes_sent":1048576`, `"upstream_cluster":null`, `"route_name":"moved"`,
			} {
				if log := r.access.String(); !strings.Contains(log, want) {
					return fmt.Sprintf("no %s in %s", want, log)
				}
			}
			return ""
		})
	})
}

// gRPC has a status of its own for what is no gRPC (Envoy does the same).
func TestARulesAnswerToGRPCIsGRPCs(t *testing.T) {
	t.Parallel()
	inVersions(t, static("a", "a.example.com", "HTTP", 80, "127.0.0.1:1")+rules(`
  - match: [{uri: {prefix: /moved}}]
    redirect: {uri: /new}
  - directResponse: {status: 403, body: {string: closed today}}
`), func(t *testing.T, r *rig, c *http.Client) {
		for path, want := range map[string]string{"/closed": "7 closed today", "/moved": "2 "} {
			req := getRequest(t, "http://a.example.com"+path)
			req.Header.Set("Content-Type", "application/grpc")
			resp, body := fetch(t, c, req)
			if got := resp.Header.Get("Grpc-Status") + " " + resp.Header.Get("Grpc-Message"); resp.StatusCode != 200 || got != want || body != "" {
				t.Errorf("%s: %d %q, want %q, body %q", path, resp.StatusCode, got, want, body)
			}
		}
	})
}

// A request that is answered without a server must not leave bytes that the next one
// on its connection is read from.
func TestTheBodyOfARequestThatARuleAnswersIsNoRequest(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.example.com", "HTTP", 80, "127.0.0.1:1")+rules(`
  - directResponse: {status: 200, body: {string: ok}}
`))
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a.example.com\r\n\r\n"
	for name, request := range map[string]string{
		"here":    fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: %d\r\n\r\n%s", len(smuggled), smuggled),
		"not yet": fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.example.com\r\nContent-Length: %d\r\n\r\n%s", 100<<10, smuggled),
		"chunked": fmt.Sprintf("POST / HTTP/1.1\r\nHost: a.example.com\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(smuggled), smuggled),
	} {
		if got := r.raw(request); strings.Count(got, "HTTP/1.1 200 OK") != 1 || !strings.HasSuffix(got, "ok") {
			t.Errorf("%s: %q", name, got)
		}
	}
	if strings.Contains(r.access.String(), "/smuggled") {
		t.Errorf("%s", r.access)
	}
}
