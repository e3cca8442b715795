package proxy

import (
	"errors"
	"io"
	"sync"
)

// buffer holds bytes that were read and not yet used. Readers of a connection
// share one, so that what was peeked at is never lost.
type buffer struct {
	b    []byte
	r, w int
	home *[]byte // b as it came from bufferPool, nil for a bigger one

	memory *budget // what a bigger one is taken from, nil: no bound
}

// Sizes of a buffer: its first, enough for most heads, and its last, enough for
// the largest head that is allowed.
const (
	bufferSize    = 4 << 10
	maxBufferSize = 64 << 10
)

var bufferPool = sync.Pool{New: func() any { b := make([]byte, bufferSize); return &b }}

var errBufferFull = errors.New("more bytes than a buffer holds")

// bytes are the unused bytes, valid until the next fill.
func (b *buffer) bytes() []byte { return b.b[b.r:b.w] }

func (b *buffer) len() int { return b.w - b.r }

// discard uses up n bytes.
func (b *buffer) discard(n int) {
	b.r += n
	if b.r == b.w {
		b.r, b.w = 0, 0
	}
}

// fill reads once, making room first. It may move the bytes.
func (b *buffer) fill(r io.Reader) error {
	switch {
	case b.b == nil:
		b.home = bufferPool.Get().(*[]byte)
		b.b = *b.home
	case b.w == len(b.b) && b.r > 0:
		b.w = copy(b.b, b.b[b.r:b.w])
		b.r = 0
	case b.w == len(b.b) && len(b.b) >= maxBufferSize:
		return errBufferFull
	case b.w == len(b.b):
		if !b.grow() {
			return noMemory
		}
	}
	n, err := r.Read(b.b[b.w:])
	b.w += n
	if n > 0 {
		return nil
	}
	if err == nil {
		err = io.ErrNoProgress
	}
	return err
}

// grow reports false where the memory is used up.
func (b *buffer) grow() bool {
	size := 4 * len(b.b)
	if b.memory != nil && !b.memory.take(int64(size)) {
		return false
	}
	bigger := make([]byte, size)
	b.w = copy(bigger, b.bytes())
	b.r = 0
	b.free()
	b.b = bigger
	return true
}

// free gives the memory back; the buffer is empty and usable afterwards.
func (b *buffer) free() {
	if b.home != nil {
		bufferPool.Put(b.home)
	} else if b.memory != nil {
		b.memory.giveBack(int64(len(b.b)))
	}
	b.b, b.home = nil, nil
}

// release is free for a buffer whose bytes are all used.
func (b *buffer) release() {
	b.free()
	b.r, b.w = 0, 0
}
