package http1

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
)

// readChunks feeds a body in pieces that end at the given cuts and returns what
// came out and how much of b was used.
func readChunks(b []byte, cuts ...int) (body []byte, trailers []Field, used int, done bool, err *Error) {
	var c ChunkReader
	for _, end := range append(cuts, len(b)) {
		for {
			data, n, d, e := c.Next(b[used:end])
			body, used = append(body, data...), used+n
			if e != nil || d {
				return body, c.Trailers, used, d, e
			}
			if n == 0 {
				break
			}
		}
	}
	return body, nil, used, false, nil
}

func TestChunksAreTakenApart(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0\r\n\r\n":                                   "",
		"5\r\nhello\r\n0\r\n\r\n":                     "hello",
		"2\r\nhe\r\n00003\r\nllo\r\n000\r\n\r\n":      "hello",
		"A\r\n0123456789\r\n0\r\n\r\n":                "0123456789",
		"a\r\n0123456789\r\n0\r\n\r\n":                "0123456789",
		"1;x\r\na\r\n1; y=\"z;\"\r\nb\r\n0;q\r\n\r\n": "ab",
		"5\r\n\r\n0\r\n\r\n0\r\n\r\n":                 "\r\n0\r\n",
	} {
		body, _, used, done, err := readChunks([]byte(text + "next"))
		if err != nil || !done || string(body) != want || used != len(text) {
			t.Errorf("%q: body %q, used %d of %d, done %v, error %v", text, body, used, len(text), done, err)
		}
	}
}

func TestMalformedChunksAreRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text string
		want *Error
	}{
		"no digits":            {"\r\n", errChunkSize},
		"not hex":              {"g\r\n", errChunkSize},
		"0x":                   {"0x5\r\nhello\r\n", errChunkSize},
		"sign":                 {"+5\r\nhello\r\n", errChunkSize},
		"minus":                {"-1\r\n", errChunkSize},
		"space before":         {" 5\r\nhello\r\n", errChunkSize},
		"space after":          {"5 \r\nhello\r\n", errChunkSize},
		"space before ;":       {"5 ;a\r\nhello\r\n", errChunkSize},
		"underscore":           {"1_0\r\n", errChunkSize},
		"sixteen digits":       {"fffffffffffffffff\r\n", errChunkSize},
		"bare LF after size":   {"5\nhello\r\n", errLineEnd},
		"bare CR in extension": {"5;a\rb\r\nhello\r\n", errChunkSize},
		"NUL in extension":     {"5;a\x00\r\nhello\r\n", errChunkSize},
		"longer than its size": {"4\r\nhello\r\n", errChunkEnd},
		"bare LF after data":   {"5\r\nhello\n", errChunkEnd},
		"CR without LF":        {"5\r\nhello\r0", errChunkEnd},
		"endless extension":    {"5;" + strings.Repeat("a", maxChunkLine), errChunkSize},
		"large extension":      {"5;" + strings.Repeat("a", maxChunkLine) + "\r\n", errChunkSize},
		"folded trailer":       {"0\r\nA: b\r\n c\r\n\r\n", errFold},
		"bare LF in trailer":   {"0\r\nA: b\nC: d\r\n\r\n", errLineEnd},
		"trailers too large":   {"0\r\nA: " + strings.Repeat("b", MaxHeadBytes+1), errTooLarge},
		"too many trailers":    {"0\r\n" + strings.Repeat("a: b\r\n", 101) + "\r\n", errTooMany},
	} {
		if _, _, _, done, err := readChunks([]byte(c.text)); err != c.want || done {
			t.Errorf("%s: done %v, error %v, want %v", name, done, err, c.want)
		}
	}
}

func TestTrailersThatFrameOrRouteDoNotGoOn(t *testing.T) {
	t.Parallel()
	_, trailers, _, done, err := readChunks([]byte("0\r\nX-Sum: 1\r\nContent-Length: 5\r\nHost: evil\r\nTransfer-Encoding: chunked\r\nConnection: x\r\n\r\n"))
	if err != nil || !done {
		t.Fatal(done, err)
	}
	if got, want := string(AppendLastChunk(nil, trailers)), "0\r\nX-Sum: 1\r\n\r\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Whatever way a body arrives in pieces, and whatever chunks it is made of, what
// comes out is the body.
func TestChunkedBodiesSurviveEveryCut(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	rnd := rand.New(rand.NewPCG(seed, 0))
	for round := range 500 {
		var body, wire []byte
		for range rnd.IntN(6) {
			data := make([]byte, 1+rnd.IntN(60))
			for i := range data {
				data[i] = "\r\n0123abc;"[rnd.IntN(10)]
			}
			body = append(body, data...)
			wire = AppendChunkHead(wire, len(data))
			wire = append(append(wire, data...), "\r\n"...)
		}
		wire = AppendLastChunk(wire, []Field{{Name: []byte("A"), Value: []byte("b")}})
		var cuts []int
		for i := range wire {
			if rnd.IntN(3) == 0 {
				cuts = append(cuts, i)
			}
		}
		got, trailers, used, done, err := readChunks(wire, cuts...)
		if err != nil || !done || !bytes.Equal(got, body) || used != len(wire) || len(trailers) != 1 {
			t.Fatalf("seed %d, round %d: %q cut at %v gave %q, used %d, done %v, error %v", seed, round, wire, cuts, got, used, done, err)
		}
	}
}
