package http1

import (
	"fmt"
	"strings"
	"testing"
)

func parseRequest(text string) (*Request, int, *Error) {
	r := new(Request)
	n, err := r.Parse([]byte(text))
	return r, n, err
}

func TestARequestLineIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		line            string
		form            Form
		path, authority string
	}{
		{"GET / HTTP/1.1", Origin, "/", "h.test"},
		{"GET /a%2Fb?q=1&r HTTP/1.1", Origin, "/a%2Fb?q=1&r", "h.test"},
		{"GET //x/../y HTTP/1.1", Origin, "//x/../y", "h.test"},
		{"GET /\xc3\xa9 HTTP/1.1", Origin, "/\xc3\xa9", "h.test"},
		{"brew /pot HTTP/1.1", Origin, "/pot", "h.test"},
		{"GET http://u.test HTTP/1.1", Absolute, "/", "u.test"},
		{"GET http://u.test:81/p?q HTTP/1.1", Absolute, "/p?q", "u.test:81"},
		{"GET HTTPS://U.test/ HTTP/1.1", Absolute, "/", "U.test"},
		{"GET http://[2001:db8::1]:80/ HTTP/1.1", Absolute, "/", "[2001:db8::1]:80"},
		{"CONNECT u.test:443 HTTP/1.1", AuthorityForm, "", "u.test:443"},
		{"OPTIONS * HTTP/1.1", Asterisk, "*", "h.test"},
		{"CONNECT [2001:db8::1]:0443 HTTP/1.1", AuthorityForm, "", "[2001:db8::1]:0443"},
	} {
		r, n, err := parseRequest(c.line + "\r\nHost: h.test\r\n\r\n")
		if err != nil || n == 0 || r.Form != c.form || string(r.Path) != c.path || string(r.Authority) != c.authority {
			t.Errorf("%q: form %d, path %q, authority %q, consumed %d, error %v", c.line, r.Form, r.Path, r.Authority, n, err)
		}
	}
}

func TestWhatTwoParsersCouldReadDifferentlyIsRefused(t *testing.T) {
	t.Parallel()
	head := func(fields ...string) string {
		return "POST / HTTP/1.1\r\nHost: h.test\r\n" + strings.Join(fields, "\r\n") + "\r\n\r\n"
	}
	line := func(l string) string { return l + "\r\nHost: h.test\r\n\r\n" }
	for name, c := range map[string]struct {
		text string
		want *Error
	}{
		"no method":                     {line(" / HTTP/1.1"), errStartLine},
		"no version":                    {line("GET /"), errStartLine},
		"two spaces after method":       {line("GET  / HTTP/1.1"), errStartLine},
		"two spaces after target":       {line("GET /  HTTP/1.1"), errStartLine},
		"tab instead of space":          {line("GET\t/ HTTP/1.1"), errStartLine},
		"space at the end":              {line("GET / HTTP/1.1 "), errStartLine},
		"space inside the target":       {line("GET /a b HTTP/1.1"), errStartLine},
		"method with a separator":       {line("GE(T / HTTP/1.1"), errStartLine},
		"lower-case version":            {line("GET / http/1.1"), errStartLine},
		"version with two digits":       {line("GET / HTTP/1.10"), errStartLine},
		"version 2":                     {line("GET / HTTP/2.0"), errVersion},
		"version 0.9":                   {line("GET / HTTP/0.9"), errVersion},
		"version 1.2":                   {line("GET / HTTP/1.2"), errVersion},
		"fragment":                      {line("GET /a#b HTTP/1.1"), errTarget},
		"control in the target":         {line("GET /\x01 HTTP/1.1"), errTarget},
		"delete in the target":          {line("GET /\x7f HTTP/1.1"), errTarget},
		"relative target":               {line("GET a HTTP/1.1"), errTarget},
		"asterisk for GET":              {line("GET * HTTP/1.1"), errTarget},
		"another scheme":                {line("GET ftp://h.test/ HTTP/1.1"), errTarget},
		"absolute without authority":    {line("GET http:///p HTTP/1.1"), errHost},
		"absolute with userinfo":        {line("GET http://u@h.test/ HTTP/1.1"), errHost},
		"absolute with query, no path":  {line("GET http://h.test?q HTTP/1.1"), errTarget},
		"absolute, two ports":           {line("GET http://h.test:1:2/ HTTP/1.1"), errHost},
		"CONNECT with a path":           {line("CONNECT /x HTTP/1.1"), errTarget},
		"CONNECT with an asterisk":      {line("CONNECT * HTTP/1.1"), errTarget},
		"CONNECT without a port":        {line("CONNECT u.test HTTP/1.1"), errTarget},
		"CONNECT to an empty port":      {line("CONNECT u.test: HTTP/1.1"), errTarget},
		"CONNECT to port 0":             {line("CONNECT u.test:00 HTTP/1.1"), errTarget},
		"CONNECT to an address alone":   {line("CONNECT [2001:db8::1] HTTP/1.1"), errTarget},
		"bare LF after the line":        {"GET / HTTP/1.1\nHost: h.test\r\n\r\n", errLineEnd},
		"bare LF after a field":         {"GET / HTTP/1.1\r\nHost: h.test\nA: b\r\n\r\n", errLineEnd},
		"bare LFs at the end":           {"GET / HTTP/1.1\r\nHost: h.test\n\n", errLineEnd},
		"CR inside a field":             {head("A: b\rc"), errFieldValue},
		"NUL inside a field":            {head("A: b\x00c"), errFieldValue},
		"folded field":                  {head("A: b", " c"), errFold},
		"first field folded":            {"GET / HTTP/1.1\r\n Host: h.test\r\n\r\n", errFold},
		"space before the colon":        {head("A : b"), errFieldName},
		"tab before the colon":          {head("Content-Length\t: 1"), errFieldName},
		"no colon":                      {head("Ab"), errFieldName},
		"no name":                       {head(": b"), errFieldName},
		"name with a quote":             {head(`"a": b`), errFieldName},
		"name beyond ASCII":             {head("\xc3\xa9: b"), errFieldName},
		"two hosts":                     {head("Host: h.test"), errHosts},
		"host with a space":             {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", errHost},
		"host with a slash":             {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", errHost},
		"host with userinfo":            {"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", errHost},
		"host with a list":              {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", errHost},
		"host with an encoded dot":      {"GET / HTTP/1.1\r\nHost: a%2eb\r\n\r\n", errHost},
		"host with two ports":           {"GET / HTTP/1.1\r\nHost: a:80:81\r\n\r\n", errHost},
		"host with a word for port":     {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", errHost},
		"host with six-digit port":      {"GET / HTTP/1.1\r\nHost: a:000080\r\n\r\n", errHost},
		"host of a port only":           {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", errHost},
		"bracket never closed":          {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", errHost},
		"bracket around a name":         {"GET / HTTP/1.1\r\nHost: [a.test]\r\n\r\n", errHost},
		"text after the bracket":        {"GET / HTTP/1.1\r\nHost: [::1]a.test\r\n\r\n", errHost},
		"address without brackets":      {"GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", errHost},
		"no host in 1.1":                {"GET / HTTP/1.1\r\n\r\n", ErrMissingHost},
		"empty host in 1.1":             {"GET / HTTP/1.1\r\nHost: \r\n\r\n", ErrMissingHost},
		"no host beside absolute":       {"GET http://h.test/ HTTP/1.1\r\n\r\n", ErrMissingHost},
		"length with plus":              {head("Content-Length: +1"), errContentLength},
		"length with minus":             {head("Content-Length: -1"), errContentLength},
		"length in hex":                 {head("Content-Length: 0x1"), errContentLength},
		"length with a list":            {head("Content-Length: 1, 1"), errContentLength},
		"length empty":                  {head("Content-Length:"), errContentLength},
		"length with a space inside":    {head("Content-Length: 1 0"), errContentLength},
		"length beyond 63 bits":         {head("Content-Length: 99999999999999999999"), errContentLength},
		"length twice, same":            {head("Content-Length: 1", "Content-Length: 1"), errContentLength},
		"length twice, different":       {head("Content-Length: 1", "Content-Length: 2"), errContentLength},
		"length and chunked":            {head("Content-Length: 1", "Transfer-Encoding: chunked"), errLengthAndChunked},
		"chunked and length":            {head("Transfer-Encoding: chunked", "Content-Length: 0"), errLengthAndChunked},
		"length and gzip":               {head("Transfer-Encoding: gzip", "Content-Length: 0"), errLengthAndChunked},
		"chunked twice":                 {head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), errTransferEncoding},
		"chunked listed twice":          {head("Transfer-Encoding: chunked, chunked"), errTransferEncoding},
		"gzip, chunked":                 {head("Transfer-Encoding: gzip, chunked"), errTransferEncoding},
		"identity":                      {head("Transfer-Encoding: identity"), errTransferEncoding},
		"chunked with a parameter":      {head("Transfer-Encoding: chunked;a=b"), errTransferEncoding},
		"chunked with a vertical tab":   {head("Transfer-Encoding: \vchunked"), errFieldValue},
		"chunked quoted":                {head(`Transfer-Encoding: "chunked"`), errTransferEncoding},
		"empty coding":                  {head("Transfer-Encoding:"), errTransferEncoding},
		"chunked, then another":         {head("Transfer-Encoding: chunked", "Transfer-Encoding: gzip"), errTransferEncoding},
		"chunked in 1.0":                {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", errTEinHTTP10},
		"ten connection options":        {head("Connection: a,b,c,d,e,f,g,h,i,j"), errConnection},
		"ten options over two fields":   {head("Connection: a,b,c,d,e", "Connection: f,g,h,i,j"), errConnection},
		"more than 100 fields":          {head(strings.TrimSuffix(strings.Repeat("a: b\r\n", 100), "\r\n")), errTooMany},
		"head beyond the limit":         {head("a: " + strings.Repeat("b", MaxHeadBytes)), errTooLarge},
		"too many empty lines before":   {strings.Repeat("\r\n", 40) + "GET / HTTP/1.1\r\nHost: h.test\r\n\r\n", errStartLine},
		"an unfinished head, too large": {"GET / HTTP/1.1\r\na: " + strings.Repeat("b", MaxHeadBytes), errTooLarge},
		"an unfinished wrong line":      {"GET /\r\n", errStartLine},
	} {
		if _, n, err := parseRequest(c.text); err != c.want || n != 0 {
			t.Errorf("%s: consumed %d, error %v, want %v", name, n, err, c.want)
		}
	}
}

func TestWhatIsOddButClearIsAccepted(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"an empty line before":        "\r\nGET / HTTP/1.1\r\nHost: h.test\r\n\r\n",
		"no host in 1.0":              "GET / HTTP/1.0\r\n\r\n",
		"tabs around a value":         "GET / HTTP/1.1\r\nHost:\th.test\t \r\n\r\n",
		"no space after the colon":    "GET / HTTP/1.1\r\nHost:h.test\r\n\r\n",
		"an empty value":              "GET / HTTP/1.1\r\nHost: h.test\r\nA:\r\n\r\n",
		"a value beyond ASCII":        "GET / HTTP/1.1\r\nHost: h.test\r\nA: \xff\xe9\r\n\r\n",
		"chunked in odd case, spaces": "POST / HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: \t ChUnKeD \r\n\r\n",
		"an empty port":               "GET / HTTP/1.1\r\nHost: h.test:\r\n\r\n",
		"a bracketed address":         "GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:8080\r\n\r\n",
		"an underscore":               "GET / HTTP/1.1\r\nHost: a_b.test\r\n\r\n",
		"100 fields":                  "GET / HTTP/1.1\r\nHost: h.test\r\n" + strings.Repeat("a: b\r\n", 99) + "\r\n",
		"nine connection options":     "GET / HTTP/1.1\r\nHost: h.test\r\nConnection: a,b,c,d,e,f,g,h,close\r\n\r\n",
	} {
		if _, n, err := parseRequest(text); err != nil || n != len(text) {
			t.Errorf("%s: consumed %d of %d, error %v", name, n, len(text), err)
		}
	}
}

func TestTheLargestAllowedHeadIsAccepted(t *testing.T) {
	t.Parallel()
	start := "GET / HTTP/1.1\r\nHost: h.test\r\na: "
	for _, extra := range []int{0, 1} {
		text := start + strings.Repeat("b", MaxHeadBytes-len(start)-4+extra) + "\r\n\r\n"
		if _, n, err := parseRequest(text); (err == nil) != (extra == 0) || (n == len(text)) != (extra == 0) {
			t.Errorf("%d bytes: consumed %d, error %v", len(text), n, err)
		}
	}
}

func TestKeepAliveFollowsVersionAndConnection(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version, connection string
		want                bool
	}{
		{"1.1", "", true}, {"1.1", "close", false}, {"1.1", "keep-alive", true}, {"1.1", "Close, x", false},
		{"1.1", "keep-alive, close", false}, {"1.1", "closed", true},
		{"1.0", "", false}, {"1.0", "keep-alive", true}, {"1.0", "Keep-Alive", true}, {"1.0", "keep-alive, close", false},
	} {
		r, _, err := parseRequest(fmt.Sprintf("GET / HTTP/%s\r\nHost: h.test\r\nConnection: %s\r\n\r\n", c.version, c.connection))
		if err != nil || r.KeepAlive != c.want {
			t.Errorf("HTTP/%s with Connection %q: keep-alive %v, error %v", c.version, c.connection, r.KeepAlive, err)
		}
	}
}

func TestHopByHopFieldsAreMarkedWhereverConnectionStands(t *testing.T) {
	t.Parallel()
	r, _, err := parseRequest("POST / HTTP/1.1\r\nX-Before: 1\r\nConnection: x-before, X-AFTER, host, content-length, x-none\r\n" +
		"Host: h.test\r\nContent-Length: 1\r\nX-After: 2\r\nKeep-Alive: 5\r\nProxy-Connection: a\r\nTE: trailers\r\nUpgrade: x\r\nAccept: y\r\nConnection: accept-x\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	stops := map[string]bool{"X-Before": true, "X-After": true, "Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "TE": true, "Upgrade": true}
	for _, f := range r.Fields {
		if f.Hop != stops[string(f.Name)] {
			t.Errorf("%s: hop-by-hop %v", f.Name, f.Hop)
		}
	}
}

func TestUpgradeCountsOnlyWhereConnectionNamesItIn11(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n": "WebSocket",
		"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n":                        "",
		"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n":                       "",
		"GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n": "", // RFC 9110 §7.8
	} {
		if r, _, err := parseRequest(text); err != nil || string(r.UpgradeTo) != want {
			t.Errorf("%q: upgrade to %q, error %v", text, r.UpgradeTo, err)
		}
	}
}

func TestExpectAndBodyAreRead(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]struct {
		expect bool
		body   Framing
		length int64
	}{
		"":                               {false, NoBody, -1},
		"Content-Length: 0\r\n":          {false, NoBody, 0},
		"Content-Length: 007\r\n":        {false, Length, 7},
		"Transfer-Encoding: chunked\r\n": {false, Chunked, -1},
		"Expect: 100-Continue\r\nContent-Length: 999999999999999999\r\n": {true, Length, 999999999999999999},
		"Expect: something\r\n": {false, NoBody, -1},
	} {
		r, _, err := parseRequest("POST / HTTP/1.1\r\nHost: h.test\r\n" + fields + "\r\n")
		if err != nil || r.ExpectContinue != want.expect || r.Body() != want.body || r.ContentLength != want.length {
			t.Errorf("%q: expect %v, body %d, length %d, error %v", fields, r.ExpectContinue, r.Body(), r.ContentLength, err)
		}
	}
}

func TestAReusedRequestKeepsNothingOfTheLastOne(t *testing.T) {
	t.Parallel()
	var r Request
	r.Parse([]byte("POST http://x.test/ HTTP/1.0\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n"))
	n, err := r.Parse([]byte("GET / HTTP/1.1\r\nHost: y\r\n\r\n"))
	if err != nil || n == 0 || r.ContentLength != -1 || r.Body() != NoBody || r.ExpectContinue || !r.KeepAlive ||
		len(r.UpgradeTo) != 0 || string(r.Authority) != "y" || len(r.Fields) != 1 || r.Form != Origin {
		t.Errorf("%+v %d %v", r, n, err)
	}
}
