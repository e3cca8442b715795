package http1

import (
	"os"
	"strings"
	"testing"
)

// difference is a kind of message that net/http and this package read differently.
// docs/http-differences.md has a row for each, with the reason.
type difference struct {
	name     string
	response bool
	text     string
	ours     bool // accepted here
	theirs   bool // accepted by net/http
	// is recognises the kind among fuzzed messages that are accepted here.
	is func(b []byte) bool
}

var differences = []difference{
	{name: "empty line before the request", text: "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", ours: true, theirs: false,
		is: func(b []byte) bool { return b[0] == '\r' }},
	{name: "percent sign without two hex digits", text: "GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", ours: true, theirs: false,
		is: func(b []byte) bool { return badEscape(target(b)) }},
	{name: "line ends in LF alone", text: "GET / HTTP/1.1\nHost: a\n\n", ours: false, theirs: true},
	{name: "folded field", text: "POST / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", ours: false, theirs: true},
	{name: "HTTP/1.1 without Host", text: "GET / HTTP/1.1\r\n\r\n", ours: false, theirs: true},
	{name: "Host that is no host", text: "GET / HTTP/1.1\r\nHost: a/b c\r\n\r\n", ours: false, theirs: true},
	{name: "percent sign in Host", text: "GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", ours: false, theirs: true},
	{name: "userinfo in the target", text: "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", ours: false, theirs: true},
	{name: "fragment in the target", text: "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", ours: false, theirs: true},
	{name: "other schemes than http and https", text: "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", ours: false, theirs: true},
	{name: "same Content-Length twice", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", ours: false, theirs: true},
	{name: "Content-Length beside chunked", text: "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ours: false, theirs: true},
	{name: "Transfer-Encoding in HTTP/1.0", text: "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", ours: false, theirs: true},
	{name: "asterisk for other methods than OPTIONS", text: "GET * HTTP/1.1\r\nHost: a\r\n\r\n", ours: false, theirs: true},
	{name: "CONNECT without a port", text: "CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", ours: false, theirs: true},
	{name: "minor version above 1", text: "GET / HTTP/1.2\r\nHost: a\r\n\r\n", ours: false, theirs: true},
	{name: "response of a minor version above 1", response: true, text: "HTTP/1.2 200 OK\r\n\r\n", ours: false, theirs: true},
	{name: "response with LF alone", response: true, text: "HTTP/1.1 200 OK\nA: b\n\n", ours: false, theirs: true},
	{name: "response with both framings", response: true, text: "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", ours: false, theirs: true},
	{name: "response chunked in HTTP/1.0", response: true, text: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", ours: false, theirs: true},
	{name: "status below 100", response: true, text: "HTTP/1.1 099 Odd\r\n\r\n", ours: false, theirs: true},
}

// explained reports whether an accepted message is of a kind that is documented.
func explained(b []byte, response, theyAccept bool) bool {
	for _, d := range differences {
		if d.is != nil && d.response == response && d.theirs == theyAccept && d.is(b) {
			return true
		}
	}
	return false
}

func target(b []byte) string {
	var r Request
	r.Parse(b)
	return string(r.Target)
}

func badEscape(s string) bool {
	for i := range len(s) {
		if s[i] == '%' && (i+2 >= len(s) || hexValue(s[i+1]) < 0 || hexValue(s[i+2]) < 0) {
			return true
		}
	}
	return false
}

func TestEveryDifferenceFromNetHTTPIsDocumentedAndStillThere(t *testing.T) {
	t.Parallel()
	doc, err := os.ReadFile("../../docs/http-differences.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		if !strings.Contains(string(doc), "| "+d.name+" |") {
			t.Errorf("docs/http-differences.md has no row %q", d.name)
		}
		read, theirs := ourRequest, theirRequest
		if d.response {
			read, theirs = ourResponse, theirResponse
		}
		if _, ok := read([]byte(d.text)); ok != d.ours {
			t.Errorf("%s: accepted here %v, documented %v", d.name, ok, d.ours)
		}
		if _, ok := theirs([]byte(d.text)); ok != d.theirs {
			t.Errorf("%s: accepted by net/http %v, documented %v", d.name, ok, d.theirs)
		}
	}
}
