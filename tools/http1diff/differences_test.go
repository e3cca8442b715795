package http1diff

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/proxy/http1"
)

// difference is a kind of message that fasthttp and proxy/http1 read differently.
// docs/http-differences.md has a row for each, with the reason.
type difference struct {
	name   string
	target string // of the fuzz targets, the one it belongs to
	text   string
	ours   bool // accepted by proxy/http1
	theirs bool // accepted by fasthttp
	// is recognises the kind among fuzzed messages that are accepted by us.
	is func(b []byte) bool
}

var differences = []difference{
	{name: "CONNECT", target: "FuzzRequest", text: "CONNECT a:443 HTTP/1.1\r\nHost: b\r\n\r\n", ours: true, theirs: true,
		is: func(b []byte) bool { r, _ := ourRequest(b); return r.method == "CONNECT" }},
	{name: "absolute-form", target: "FuzzRequest", text: "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", ours: true, theirs: true,
		is: func(b []byte) bool { r, _ := ourRequest(b); return strings.Contains(r.target, "://") }},
	{name: "trailers that frame or route", target: "FuzzChunks", text: "0\r\nHost: b\r\n\r\n", ours: true, theirs: false,
		is: hasTrailers}, // fasthttp refuses a list of names
	{name: "folded field", target: "FuzzRequest", text: "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", theirs: true},
	{name: "Host that is no host", target: "FuzzRequest", text: "GET / HTTP/1.1\r\nHost: a/b c\r\n\r\n", theirs: true},
	{name: "percent sign in Host", target: "FuzzRequest", text: "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", theirs: true},
	{name: "userinfo in the target", target: "FuzzRequest", text: "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", theirs: true},
	{name: "fragment in the target", target: "FuzzRequest", text: "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", theirs: true},
	{name: "other schemes than http and https", target: "FuzzRequest", text: "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", theirs: true},
	{name: "Content-Length beside chunked", target: "FuzzRequest", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", theirs: true},
	{name: "HTTP/2.0 in a request line", target: "FuzzRequest", text: "GET / HTTP/2.0\r\nHost: a\r\n\r\n", theirs: true},
	{name: "Transfer-Encoding: identity", target: "FuzzRequest", text: "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n\r\n", theirs: true},
	{name: "response of a minor version above 1", target: "FuzzResponse", text: "HTTP/1.2 200 OK\r\n\r\n", theirs: true},
	{name: "response with both framings", target: "FuzzResponse", text: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", theirs: true},
	{name: "response chunked in HTTP/1.0", target: "FuzzResponse", text: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", theirs: true},
	{name: "status below 100", target: "FuzzResponse", text: "HTTP/1.1 099 Odd\r\n\r\n", theirs: true},
	{name: "two spaces before the status", target: "FuzzResponse", text: "HTTP/1.1  200 OK\r\n\r\n", theirs: true},
	{name: "HTTP/2.0 in a status line", target: "FuzzResponse", text: "HTTP/2.0 200 OK\r\n\r\n", theirs: true},
	{name: "response with a space before a colon", target: "FuzzResponse", text: "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", theirs: true},
	{name: "response with a folded field", target: "FuzzResponse", text: "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", theirs: true},
	{name: "control byte in a reason", target: "FuzzResponse", text: "HTTP/1.1 200 O\x00K\r\n\r\n", theirs: true},
	{name: "space after a chunk's size", target: "FuzzChunks", text: "5 \r\nhello\r\n0\r\n\r\n", theirs: true},
	{name: "control byte in a chunk's extension", target: "FuzzChunks", text: "5;a\x00\r\nhello\r\n0\r\n\r\n", theirs: true},
	{name: "space in a trailer's name", target: "FuzzChunks", text: "0\r\n00 0:0\r\n\r\n", theirs: true},
}

// hasTrailers says that a chunked body ends in trailers.
func hasTrailers(b []byte) bool {
	var c http1.ChunkReader
	for used := 0; ; {
		_, n, done, err := c.Next(b[used:])
		if used += n; done || err != nil || n == 0 {
			return done && len(c.Trailers) > 0
		}
	}
}

// explained reports whether an accepted message is of a kind that is documented.
func explained(target string, b []byte, theyAccept bool) bool {
	for _, d := range differences {
		if d.is != nil && d.target == target && d.theirs == theyAccept && d.is(b) {
			return true
		}
	}
	return false
}

func TestEveryDifferenceFromFasthttpIsDocumentedAndStillThere(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/http-differences.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, found := strings.Cut(string(doc), "## fasthttp")
	if !found {
		t.Fatal("docs/http-differences.md has no section on fasthttp")
	}
	word := map[bool]string{true: "accepts", false: "refuses"}
	for _, d := range differences {
		if row := fmt.Sprintf("| %s | %s | %s |", d.name, word[d.ours], word[d.theirs]); !strings.Contains(table, row) {
			t.Errorf("docs/http-differences.md has no row %q", row)
		}
		b := []byte(d.text)
		var ours, theirs any
		var weAccept, theyAccept bool
		switch d.target {
		case "FuzzRequest":
			ours, weAccept = ourRequest(b)
			theirs, theyAccept = fastRequest(b)
		case "FuzzResponse":
			ours, weAccept = ourResponse(b)
			theirs, theyAccept = fastResponse(b)
		default:
			_, _, weAccept = ourChunks(b)
			_, _, theyAccept = fastChunks(b)
		}
		if weAccept != d.ours || theyAccept != d.theirs || weAccept && theyAccept && ours == theirs {
			t.Errorf("%s: accepted here %v, by fasthttp %v; documented %v, %v", d.name, weAccept, theyAccept, d.ours, d.theirs)
		}
	}
}
