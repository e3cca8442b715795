package main

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// freshLeaf serves the newest certificate in a file, which is replaced by another with
// another key: one read of it gives both of the same pair.
type freshLeaf struct {
	file string

	mu   sync.Mutex
	from time.Time
	pair *tls.Certificate
}

func (f *freshLeaf) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.file)
	if err != nil {
		return nil, err
	}
	if f.pair == nil || !info.ModTime().Equal(f.from) {
		both, err := os.ReadFile(f.file)
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(both, both)
		if err != nil {
			return nil, err
		}
		f.pair, f.from = &pair, info.ModTime()
	}
	return f.pair, nil
}
