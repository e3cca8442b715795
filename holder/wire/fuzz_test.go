package wire

import (
	"bytes"
	"encoding/binary"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Whatever bytes come, with whatever descriptors on whichever of them: Receive ends
// with a frame that is one or with an error, and leaves no descriptor behind that it
// did not hand over.
func FuzzReceive(f *testing.F) {
	for _, m := range messages() {
		frame, err := encode(m.kind, m.payload, 0)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(frame, byte(0), byte(0))
		frame[5] = 2
		f.Add(frame, byte(2), byte(3)) // in two pieces, the files on the first
	}
	f.Add([]byte("SLU\x01\x01\x00\x00\x00\xff\xff\xff\xff"), byte(0), byte(0))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), byte(20), byte(1))
	probe, err := os.CreateTemp(f.TempDir(), "probe")
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { probe.Close() })
	f.Fuzz(func(t *testing.T, data []byte, files, cut byte) {
		a, b := pair(t)
		var fds []int
		for range min(files, 64) {
			fds = append(fds, int(probe.Fd()))
		}
		data = data[:min(len(data), 64<<10)]
		at := min(int(cut), len(data))
		for i, part := range [][]byte{data[:at], data[at:]} {
			if len(part) == 0 {
				continue
			}
			var rights []byte
			if len(fds) > 0 && (i == 0) == (files%2 == 0) {
				rights = unix.UnixRights(fds...)
			}
			if _, _, err := a.c.WriteMsgUnix(part, rights, nil); err != nil {
				t.Fatal(err)
			}
		}
		a.Close()
		for {
			m, got, err := b.ReceiveRaw(time.Now().Add(5 * time.Second))
			if err != nil {
				if len(got) > 0 {
					t.Errorf("an error and %d descriptors", len(got))
				}
				break
			}
			check(t, data, m, got)
			closeAll(got)
		}
	})
}

// check: what was read as a frame is in the bytes, with a header that says so.
func check(t *testing.T, data []byte, m Message, fds []int) {
	t.Helper()
	head := []byte{'S', 'L', 'U', Version, byte(m.Kind), byte(len(fds))}
	for i := 0; i+headerSize+len(m.Payload) <= len(data); i++ {
		if bytes.HasPrefix(data[i:], head) && binary.BigEndian.Uint32(data[i+8:]) == uint32(len(m.Payload)) &&
			bytes.Equal(data[i+headerSize:i+headerSize+len(m.Payload)], m.Payload) {
			return
		}
	}
	t.Errorf("%s with %d files and %q was never sent", m.Kind, len(fds), m.Payload)
}

// A frame whose files were attached elsewhere than to its header, or that came in
// pieces, leaves nothing open.
func TestRefusedFilesAreClosed(t *testing.T) {
	probe, err := os.CreateTemp(t.TempDir(), "probe")
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	mine := func() (n int) { // this file's descriptors
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if target, _ := os.Readlink("/proc/self/fd/" + e.Name()); target == probe.Name() {
				n++
			}
		}
		return n
	}
	frame, err := encode(Pod, Netns{1, 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	none, err := encode(Pod, Netns{1, 2}, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(probe.Fd())
	for _, test := range []struct {
		name   string
		pieces [][]byte
		files  []int // with each piece
		want   int   // handed over
	}{
		{"with the header", [][]byte{frame}, []int{2}, 2},
		{"one with each half of the header", [][]byte{frame[:5], frame[5:]}, []int{1, 1}, 2},
		{"too few", [][]byte{frame}, []int{1}, 0},
		{"too many", [][]byte{frame}, []int{3}, 0},
		{"more than fit", [][]byte{frame}, []int{100}, 0},
		{"with the payload", [][]byte{frame[:headerSize], frame[headerSize:]}, []int{0, 2}, 0},
		{"with a payload that has none", [][]byte{none[:headerSize], none[headerSize:]}, []int{0, 2}, 0},
		{"and then the end", [][]byte{frame[:5]}, []int{2}, 0},
		{"with another protocol", [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")}, []int{2}, 0},
	} {
		a, b := pair(t)
		for i, piece := range test.pieces {
			var rights []byte
			if test.files[i] > 0 {
				fds := make([]int, test.files[i])
				for j := range fds {
					fds[j] = fd
				}
				rights = unix.UnixRights(fds...)
			}
			if _, _, err := a.c.WriteMsgUnix(piece, rights, nil); err != nil {
				t.Fatal(err)
			}
		}
		a.Close()
		m, got, err := b.ReceiveRaw(soon())
		if len(got) != test.want {
			t.Errorf("%s: %d files with %v, %v", test.name, len(got), m.Kind, err)
		}
		if open := mine() - 1; open != test.want {
			t.Errorf("%s: %d descriptors are open, want %d", test.name, open, test.want)
		}
		closeAll(got)
		b.Close()
	}
}
