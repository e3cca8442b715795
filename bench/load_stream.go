package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// dialer opens a connection to the server through the proxy.
func (l load) dialer() (func() (net.Conn, error), error) {
	plain := func() (net.Conn, error) { return net.Dial("tcp", l.Address) }
	if !l.TLS {
		return plain, nil
	}
	pem, err := os.ReadFile(l.CA)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	config := &tls.Config{ServerName: host, RootCAs: roots}
	return func() (net.Conn, error) {
		c, err := plain()
		if err != nil {
			return nil, err
		}
		return tls.Client(c, config), nil
	}, nil
}

// pingOnce makes one small exchange.
func pingOnce(c net.Conn) error {
	if _, err := io.WriteString(c, ping); err != nil {
		return err
	}
	var b [len(pong)]byte
	if _, err := io.ReadFull(c, b[:]); err != nil {
		return fmt.Errorf("the answer did not come: %w", err)
	}
	return nil
}

// connections opens a connection, makes one exchange on it and closes it, Conns at
// a time.
func (l load) connections() error {
	dial, err := l.dialer()
	if err != nil {
		return err
	}
	one := func() error {
		c, err := dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return pingOnce(c)
	}
	for range 50 { // warm
		if err := one(); err != nil {
			return err
		}
	}
	if err := ready(); err != nil {
		return err
	}
	start := time.Now()
	var done atomic.Int64
	err = inParallel(l.Conns, func() error {
		for time.Since(start) < l.Time {
			if err := one(); err != nil {
				return err
			}
			done.Add(1)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return report(int(done.Load()), time.Since(start), nil)
}

// bytes reads what the server sends as fast as it comes.
func (l load) bytes() error {
	dial, err := l.dialer()
	if err != nil {
		return err
	}
	var total atomic.Int64
	flowing := make(chan error, l.Conns)
	for range l.Conns {
		c, err := dial()
		if err != nil {
			return err
		}
		go func() { flowing <- drink(c, &total) }()
	}
	for total.Load() < 64<<20 { // warm
		select {
		case err := <-flowing:
			return err
		case <-time.After(10 * time.Millisecond):
		}
	}
	if err := ready(); err != nil {
		return err
	}
	start, from := time.Now(), total.Load()
	select {
	case err := <-flowing:
		return err
	case <-time.After(l.Time):
	}
	return report(int(total.Load()-from), time.Since(start), nil)
}

func drink(c net.Conn, total *atomic.Int64) error {
	if _, err := io.WriteString(c, bulk); err != nil {
		return err
	}
	b := make([]byte, 256<<10)
	for {
		n, err := c.Read(b)
		total.Add(int64(n))
		if err != nil {
			return err
		}
	}
}

// idle opens connections and leaves them alone after one exchange each.
func (l load) idle() error {
	dial, err := l.dialer()
	if err != nil {
		return err
	}
	var held sync.Map
	var next atomic.Int64
	err = inParallel(16, func() error {
		for {
			i := next.Add(1)
			if i > int64(l.Conns) {
				return nil
			}
			c, err := dial()
			if err != nil {
				return err
			}
			held.Store(i, c)
			if err := l.exchange(c); err != nil {
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	return ready()
}

// exchange is one request and its answer, in the words of the scene's port.
func (l load) exchange(c net.Conn) error {
	if !isHTTPTarget(l.Address) {
		return pingOnce(c)
	}
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	r := bufio.NewReaderSize(c, 512)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the answer did not come: %w", err)
		}
		if line == string(answerEnd) {
			return nil
		}
	}
}

func isHTTPTarget(address string) bool { return address == target(httpPort) }

// inParallel runs f n times at once and joins the errors.
func inParallel(n int, f func() error) error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	return errors.Join(errs...)
}
