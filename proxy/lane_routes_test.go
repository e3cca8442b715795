package proxy_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// A node's agent has the connections of all its pods on one or two event loops, and whoever
// writes resources for one namespace may write thousands of regular expressions.
func TestRoutesThatTakeLongToChooseHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	server := script(t, nil)
	yaml := static("a", "a.test", "HTTP", 80, server) + static("b", "b.test", "HTTP", 80, server) +
		"---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: a}\nspec:\n  hosts: [a.test]\n  http:\n"
	for i := range 500 {
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
	io.WriteString(slow, ask("a.test", strings.Repeat("abcabx", 400)))
	answered := make(chan struct{})
	go func() {
		in.Peek(1)
		close(answered)
	}()
	for c, in := range others {
		exchange(t, c, in, "GET", ask("b.test", "x"))
	}
	select {
	case <-answered:
		t.Error("the request that takes long was answered before all others were")
	default:
	}
	<-answered
	if resp, _ := answerTo(t, in, "GET"); resp.StatusCode != 200 {
		t.Errorf("%d to the request that takes long", resp.StatusCode)
	}
}
