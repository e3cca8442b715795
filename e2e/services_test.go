package e2e

import (
	"bufio"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
)

// countBytes answers with the length of what was sent.
func countBytes(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		n = -1
	}
	fmt.Fprintf(w, "%d bytes", n)
}

// echoFrames is a WebSocket server for short text frames (RFC 6455).
func echoFrames(w http.ResponseWriter, r *http.Request) {
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	w.Header().Set("Connection", "Upgrade")
	w.Header().Set("Upgrade", "websocket")
	w.Header().Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	w.WriteHeader(http.StatusSwitchingProtocols)
	c, in, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	for {
		var head [6]byte // opcode, length, mask
		if _, err := io.ReadFull(in, head[:]); err != nil {
			return
		}
		text := make([]byte, head[1]&0x7f)
		if _, err := io.ReadFull(in, text); err != nil {
			return
		}
		for i := range text {
			text[i] ^= head[2+i%4]
		}
		c.Write(append([]byte{head[0], byte(len(text))}, text...))
	}
}

// serveMySQL greets first, then answers line by line, as MySQL does packet by packet.
func (n *internet) serveMySQL(address string) {
	n.Serve(n.Listen(address), func(c net.Conn) {
		io.WriteString(c, "5.7.0-like\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			fmt.Fprintf(c, "ok %s\n", strings.TrimSpace(lines.Text()))
		}
	})
}
