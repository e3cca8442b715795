package rulestest

import (
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/internal/lab"
	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// A Pair is a pod and the server it talks to.
//
//	pod 10.50.0.2 fd50::2 ─── server 10.50.0.1 fd50::1, all of whose traffic goes there
type Pair struct{ Pod, Server *lab.Namespace }

// NewPair makes a pair of namespaces that live as long as the test.
func NewPair(t testing.TB) Pair {
	t.Helper()
	p := Pair{labtest.New(t), labtest.New(t)}
	eth0 := func(in *lab.Namespace, v4, v6 string) lab.End {
		return lab.End{In: in, Name: "eth0", Addresses: []netip.Prefix{netip.MustParsePrefix(v4), netip.MustParsePrefix(v6)}}
	}
	if err := lab.Connect(eth0(p.Pod, "10.50.0.2/24", "fd50::2/64"), eth0(p.Server, "10.50.0.1/24", "fd50::1/64")); err != nil {
		t.Fatal(err)
	}
	if err := p.Pod.Do(func() error { return routeAll("10.50.0.1", "fd50::1") }); err != nil {
		t.Fatal(err)
	}
	return p
}

// Echo answers every byte that reaches a TCP address with a word until the test
// ends, and returns the address's port.
func Echo(t testing.TB, ns *lab.Namespace, address, word string) string {
	t.Helper()
	l, err := ns.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { // ends with the listener
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerBytes(c, word) // ends with the connection
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

func answerBytes(c net.Conn, word string) {
	defer c.Close()
	for buf := make([]byte, 1); ; {
		if _, err := io.ReadFull(c, buf); err != nil {
			return
		}
		c.Write([]byte(word))
	}
}

// Ask sends a byte on a connection and returns who answers, a word of five letters,
// or the error.
func Ask(c net.Conn) string {
	c.SetDeadline(time.Now().Add(3 * time.Second))
	if _, err := c.Write([]byte("?")); err != nil {
		return err.Error()
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(c, buf); err != nil {
		return err.Error()
	}
	return string(buf)
}
