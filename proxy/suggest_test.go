package proxy_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
	"github.com/sluice-cni/sluice/proxy/observed"
)

// What Observe let pass is not refused under REGISTRY_ONLY once what is suggested is
// applied, and what nobody asked for is.
func TestWhatIsSuggestedLetsTheSameTrafficPass(t *testing.T) {
	t.Parallel()
	web := serve(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "served") })
	hellos := tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c) })
	bytes := tcpServer(t, func(c *net.TCPConn) { io.Copy(c, c) })
	request := func(host string) func(r *rig) bool {
		return func(r *rig) bool {
			r.to(web)
			answer := r.raw("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
			return strings.HasPrefix(answer, "HTTP/1.1 200") && strings.HasSuffix(answer, "served")
		}
	}
	echoes := func(at, first string) func(r *rig) bool {
		return func(r *rig) bool {
			r.to(at)
			c := r.dial()
			defer c.Close()
			io.WriteString(c, first)
			back, err := bufio.NewReader(c).Peek(len(first))
			return err == nil && string(back) == first
		}
	}
	asks := map[string]func(r *rig) bool{
		"a name":             request("API.Stranger.test:8080"),
		"an address as Host": request(web),
		"a server name":      echoes(hellos, string(helloFor(t, "tls.stranger.test"))),
		"bytes":              echoes(bytes, "\x00\x01\x02\x03"),
		"one name's bytes":   echoes(hellos, string(helloFor(t, "api.stranger.test"))), // beside its HTTP
	}
	r, told := observing(t, "")
	for _, name := range []string{"api.stranger.test", "tls.stranger.test", "other.test"} {
		r.names.Store(name, []string{"127.0.0.1"})
	}
	for what, passes := range asks {
		if !passes(r) {
			t.Fatalf("%s does not pass under Observe", what)
		}
	}
	rows, _ := told.table.Rows()
	fromTable, without := observed.Suggest(rows)
	var log observed.Log
	await.Silence(t, func() string { // lines come when connections have ended
		log, _ = observed.ReadLog(strings.NewReader(r.access.String()))
		if log.Lines < len(asks) {
			return "lines are missing:\n" + r.access.String()
		}
		return ""
	})
	for i := range log.Rows { // the line of a proxy with one workload does not name it
		log.Rows[i].Namespace = "default"
	}
	fromLog, withoutLog := observed.Suggest(log.Rows)
	if len(without) != 0 || len(withoutLog) != 0 || len(fromTable) != 3 {
		t.Fatalf("without an entry: %v, %v; %q", without, withoutLog, fromTable)
	}
	for from, documents := range map[string][]string{"the table": fromTable, "the access log": fromLog} {
		r.apply(mesh.RegistryOnly, strings.Join(documents, "---\n"))
		for what, passes := range asks {
			if !passes(r) {
				t.Errorf("%s does not pass by what %s suggests:\n%s", what, from, strings.Join(documents, "---\n"))
			}
		}
		if request("other.test")(r) || echoes(hellos, string(helloFor(t, "other.test")))(r) {
			t.Errorf("what nobody asked for passes by what %s suggests", from)
		}
	}
}
