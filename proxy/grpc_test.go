package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy"
)

// asGRPC puts a request in either version of HTTP. Header names of the answer are in
// lower case.
var asGRPC = map[string]func(r *rig, method, authority, contentType string) (status int, headers map[string]string, body string){
	"HTTP/2": func(r *rig, method, authority, contentType string) (int, map[string]string, string) {
		return r.stream(r.t, ":method", method, ":authority", authority, ":path", "/x.Y/Z", "te", "trailers", "content-type", contentType)
	},
	"HTTP/1.1": func(r *rig, method, authority, contentType string) (int, map[string]string, string) {
		c := r.dial()
		in := bufio.NewReader(c)
		var resp *http.Response
		var body string
		for range 2 { // the connection goes on: what was read of the reply was all of it
			resp, body = ask(r.t, c, in, method, method+" /x.Y/Z HTTP/1.1\r\nHost: "+authority+"\r\nTE: trailers\r\nContent-Type: "+contentType+"\r\nContent-Length: 5\r\n\r\n\x00\x00\x00\x00\x00")
		}
		headers := map[string]string{}
		for name, values := range resp.Header {
			headers[strings.ToLower(name)] = values[0]
		}
		return resp.StatusCode, headers, body
	},
}

// A gRPC request gets the proxy's own answers in gRPC's form, whatever it came in.
func TestLocalRepliesToGRPCAreGRPCs(t *testing.T) {
	t.Parallel()
	gone := proxy.ClosedPort(t).String()
	wait := func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }
	resources := static("gone", "gone.test", "GRPC", 80, gone) + static("gone1", "gone1.test", "HTTP", 80, gone) + halfASecond
	for version, put := range asGRPC {
		for _, service := range []string{"h2c", "h1"} {
			t.Run(version+" to "+service, func(t *testing.T) {
				t.Parallel()
				r := newRig(t, mesh.RegistryOnly, mode{service: service}.serve(t, wait)+resources)
				for _, c := range []struct{ method, authority, contentType, httpStatus, grpcStatus, message string }{
					{"POST", "nobody.test", "application/grpc", "200", "14", ""},
					{"POST", "nobody.test", "application/grpc+proto", "200", "14", ""},
					{"POST", "nobody.test", "application/grpc-web", "502", "", ""},
					{"POST", "nobody.test", "text/plain", "502", "", ""},
					{"POST", "gone.test", "application/grpc", "200", "14", "Connection refused"},
					{"POST", "gone1.test", "application/grpc", "200", "14", "Connection refused"},
					{"HEAD", "gone1.test", "application/grpc", "200", "14", ""},
					{"POST", "a.example.com", "application/grpc", "200", "4", "upstream request timeout"},
				} {
					status, headers, body := put(r, c.method, c.authority, c.contentType)
					if fmt.Sprint(status) != c.httpStatus || headers["grpc-status"] != c.grpcStatus || !strings.Contains(headers["grpc-message"], c.message) ||
						c.message == "" && headers["grpc-message"] != "" {
						t.Errorf("%+v: %d %v", c, status, headers)
					}
					if c.grpcStatus != "" && (body != "" || headers["content-type"] != "application/grpc") {
						t.Errorf("%+v: %v, %q", c, headers, body)
					}
				}
			})
		}
	}
}

// The head of a request that could not be read says nothing, its content type
// neither.
func TestAHeadThatCannotBeReadIsAnsweredPlainly(t *testing.T) {
	t.Parallel()
	r := newRig(t, mesh.RegistryOnly, static("a", "a.test", "HTTP", 80, "127.0.0.1:1"))
	const grpc = "Host: a.test\r\nContent-Type: application/grpc\r\n"
	got := r.raw("POST /x HTTP/1.1\r\n" + grpc + "Content-Length: 0\r\n\r\n" + "POST  /x HTTP/1.1\r\n" + grpc + "\r\n")
	first, second, _ := strings.Cut(got, "\r\n\r\n")
	if !strings.HasPrefix(first, "HTTP/1.1 200 ") || !strings.Contains(first, "grpc-status: 14\r\n") || !strings.Contains(first, "content-length: 0\r\n") {
		t.Errorf("%q", first)
	}
	if !strings.HasPrefix(second, "HTTP/1.1 400 ") || strings.Contains(second, "grpc") || !strings.HasSuffix(second, "Bad Request") {
		t.Errorf("%q", second)
	}
}

// What gRPC's answers say of themselves is counted in either version of HTTP.
func TestTheStatusOfGRPCOverHTTP1IsCounted(t *testing.T) {
	t.Parallel()
	handler := func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		io.WriteString(w, "\x00\x00\x00\x00\x00")
		w.(http.Flusher).Flush()
		w.Header().Set("Grpc-Status", "5")
	}
	for _, service := range []string{"h1", "h2c"} {
		t.Run(service, func(t *testing.T) {
			t.Parallel()
			c := newCounted(t, mode{service: service}.serve(t, handler))
			for _, authority := range []string{"a.example.com", "nobody.test"} {
				asGRPC["HTTP/1.1"](c.rig, "POST", authority, "application/grpc")
			}
			c.eventually(2, "istio_requests_total", "request_protocol=grpc", "response_code=200", "grpc_response_status=5", "destination_service=a.example.com")
			c.eventually(2, "istio_requests_total", "request_protocol=grpc", "response_code=200", "grpc_response_status=14")
		})
	}
}
