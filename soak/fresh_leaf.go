package main

import (
	"crypto/tls"
	"os"
	"sync"
	"time"
)

// freshLeaf serves the newest certificate in a file.
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
		pair, err := tls.LoadX509KeyPair(f.file, f.file)
		if err != nil {
			return nil, err
		}
		f.pair, f.from = &pair, info.ModTime()
	}
	return f.pair, nil
}
