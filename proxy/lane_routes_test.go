package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// A node's agent has the connections of all its pods on one or two event loops, and whoever
// writes resources for one namespace may write thousands of regular expressions.
func TestRoutesThatTakeLongToChooseHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	server := script(t, nil)
	yaml := static("a", "a.test", "HTTP", 80, server) + static("b", "b.test", "HTTP", 80, server) +
		"---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a.test]\n  http:\n"
	for i := range 2000 {
		yaml += fmt.Sprintf("  - {match: [{uri: {regex: '(.*a)*(.*b)*(.*c)*.*%d'}}], directResponse: {status: 418}}\n", i)
	}
	yaml += "  - {route: [{destination: {host: a.test}}]}\n"
	r := laneRig(t, yaml)
	ask := func(host, path string) string {
		return "GET /" + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n"
	}
	others := map[net.Conn]*bufio.Reader{} // on every loop
	for range 8 {
		c := r.dial()
		others[c] = bufio.NewReader(c)
		exchange(t, c, others[c], "GET", ask("b.test", "x"))
	}
	first := r.dial() // for which the host's routes are derived
	exchange(t, first, bufio.NewReader(first), "GET", ask("a.test", "x"))
	slow := r.dial()
	in := bufio.NewReader(slow)
	began := time.Now()
	io.WriteString(slow, ask("a.test", strings.Repeat("abcabx", 1000)))
	answered := make(chan time.Duration, 1)
	go func() {
		in.Peek(1)
		answered <- time.Since(began)
	}()
	var latest time.Duration
	for c, in := range others {
		exchange(t, c, in, "GET", ask("b.test", "x"))
		latest = max(latest, time.Since(began))
	}
	long := <-answered
	if resp, _ := answerTo(t, in, "GET"); resp.StatusCode != 200 {
		t.Errorf("%d to the request that takes long", resp.StatusCode)
	}
	if latest > long/2 {
		t.Errorf("others were answered after %v, and the request that takes long after %v", latest, long)
	}
}
