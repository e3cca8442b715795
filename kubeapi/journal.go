package kubeapi

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// journal is a file that has the last known objects of a kind: a line for each object
// that came or went, appended. A line is a CRC-32C of the rest, an operation and JSON:
//
//	7d1c50b2 # {"journal":1,"kind":"serviceentries.networking.istio.io",…}
//	0f3a1c77 + {"apiVersion":"networking.istio.io/v1",…}
//	a91b2c3d - {"Namespace":"shop","Name":"httpbin"}
//
// The first is there only in a file that once had all objects. One that a crash tore
// ends the file; a damaged one before the end costs its object, which is said. When most
// of the file is past it is written anew beside itself and renamed.
type journal struct {
	path   string
	header []byte // its first line
	log    *slog.Logger

	// Feed.mu guards these.
	pending map[Key][]byte // to be written; nil: gone
	due     bool           // there is something to write
	there   bool           // a file is, to be appended to
	whole   bool           // pending is all there is

	// Only replay and the keeper touch these.
	at      map[Key]span
	end     int64 // of what is whole in the file
	live    int64 // bytes of it that at has
	damaged bool  // there is something else in it
	failing bool  // which was said
}

// span is where a line is.
type span struct {
	from int64
	size int32
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// journalFor names the file of a follow. "" as a dir, or a kind that is not kept: nil.
func (w *follow) journalFor(dir string) *journal {
	if dir == "" || w.kind == Pods || w.kind == Secrets || w.kind == Events {
		return nil
	}
	name := w.kind.Resource
	if w.selector != (Selector{}) {
		sum := crc32.Checksum(fmt.Appendf(nil, "%q", w.selector), castagnoli)
		name += fmt.Sprintf("-%08x", sum)
	}
	about, _ := json.Marshal(map[string]any{"journal": 1, "kind": w.kind.String(), "selector": w.selector})
	return &journal{path: filepath.Join(dir, name+".journal"), header: line('#', about), log: w.feed.log, pending: map[Key][]byte{}}
}

func line(operation byte, data []byte) []byte {
	out := make([]byte, 9, 9+2+len(data)+1)
	out = append(append(append(out, operation, ' '), data...), '\n')
	sum := crc32.Checksum(out[9:], castagnoli)
	hex.Encode(out, []byte{byte(sum >> 24), byte(sum >> 16), byte(sum >> 8), byte(sum)})
	out[8] = ' '
	return out
}

// unline is line backwards.
func unline(text []byte) (operation byte, data []byte, ok bool) {
	if len(text) < 12 || text[8] != ' ' || text[10] != ' ' || text[len(text)-1] != '\n' {
		return 0, nil, false
	}
	sum, err := strconv.ParseUint(string(text[:8]), 16, 32)
	if err != nil || uint32(sum) != crc32.Checksum(text[9:], castagnoli) {
		return 0, nil, false
	}
	return text[9], text[11 : len(text)-1], true
}

// put has an object written with the next batch, nil for one that is gone. The caller
// holds Feed.mu.
func (j *journal) put(key Key, data []byte) {
	j.pending[key], j.due = data, true
}

// scan reads the file and gives each line to visit, where that is not nil. No file, or
// none of this follow, is fs.ErrNotExist.
func (j *journal) scan(visit func(Object)) error {
	j.at, j.end, j.live, j.damaged = map[Key]span{}, 0, 0, false
	f, err := os.Open(j.path)
	if err != nil {
		return err
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, 64<<10)
	first, err := in.ReadBytes('\n')
	if err != nil && err != io.EOF {
		return err
	}
	if !bytes.Equal(first, j.header) {
		return fmt.Errorf("%s: of another kind or version: %w", j.path, fs.ErrNotExist)
	}
	j.end = int64(len(first))
	j.live = j.end
	lost := 0
	for at := j.end; ; {
		text, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return err
		}
		if len(text) == 0 {
			break
		}
		from := at
		at += int64(len(text))
		key, o, ok := j.understand(text)
		if !ok {
			if j.damaged = true; err == nil {
				lost++
			}
			continue
		}
		if j.end = at; o == nil {
			j.drop(key)
			continue
		}
		j.place(key, span{from, int32(len(text))})
		if visit != nil {
			visit(*o)
		}
	}
	if lost > 0 {
		j.log.Warn("lines of what was last known of the cluster are damaged; their objects are as they were before", "file", j.path, "lines", lost)
	}
	return nil
}

// understand reads a line; a nil Object is one that went.
func (j *journal) understand(text []byte) (Key, *Object, bool) {
	operation, data, ok := unline(text)
	if !ok {
		return Key{}, nil, false
	}
	switch operation {
	case '-':
		var key Key
		err := json.Unmarshal(data, &key)
		return key, nil, err == nil
	case '+':
		o, err := object(data)
		o.Remembered = true
		return o.Key, &o, err == nil
	}
	return Key{}, nil, false
}

func (j *journal) place(key Key, s span) {
	j.drop(key)
	j.at[key] = s
	j.live += int64(s.size)
}

func (j *journal) drop(key Key) {
	j.live -= int64(j.at[key].size)
	delete(j.at, key)
}

// replay gives what the file has. It reports false where there is none that can be used.
func (j *journal) replay() (map[Key]Object, bool) {
	all := map[Key]Object{}
	err := j.scan(func(o Object) { all[o.Key] = o })
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist):
		return nil, false
	default:
		j.log.Warn("what was last known of the cluster cannot be read; it is taken for nothing known", "file", j.path, "error", err)
		return nil, false
	}
	for key := range all {
		if _, there := j.at[key]; !there {
			delete(all, key)
		}
	}
	return all, true
}

const slack = 64 << 10 // bytes that a small file may have past

// write appends a batch, or writes the file anew where that is due.
func (j *journal) write(batch map[Key][]byte) error {
	keys := slices.SortedFunc(maps.Keys(batch), compareKeys)
	if j.damaged || j.end > 2*j.live+slack {
		return j.rewrite(keys, batch)
	}
	f, err := os.OpenFile(j.path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, key := range keys {
		out.Write(entry(key, batch[key]))
	}
	_, err = f.WriteAt(out.Bytes(), j.end)
	if err = errors.Join(err, f.Close()); err != nil {
		j.damaged = true // who knows what of it is there
		return err
	}
	for _, key := range keys {
		size := int64(len(entry(key, batch[key])))
		if batch[key] == nil {
			j.drop(key)
		} else {
			j.place(key, span{j.end, int32(size)})
		}
		j.end += size
	}
	return nil
}

func entry(key Key, data []byte) []byte {
	if data == nil {
		gone, _ := json.Marshal(key)
		return line('-', gone)
	}
	return line('+', data)
}

// rewrite makes the file of what it has and a batch.
func (j *journal) rewrite(keys []Key, batch map[Key][]byte) (err error) {
	temp, err := os.CreateTemp(filepath.Dir(j.path), ".journal-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	defer temp.Close()
	out := bufio.NewWriterSize(temp, 64<<10)
	at, end := map[Key]span{}, int64(len(j.header))
	out.Write(j.header)
	add := func(key Key, text []byte) {
		at[key] = span{end, int32(len(text))}
		end += int64(len(text))
		out.Write(text) // whose error Flush has
	}
	if len(j.at) > 0 {
		old, err := os.Open(j.path)
		if err != nil {
			return err
		}
		defer old.Close()
		for _, key := range slices.SortedFunc(maps.Keys(j.at), compareKeys) {
			if _, newer := batch[key]; newer {
				continue
			}
			text := make([]byte, j.at[key].size)
			if _, err := old.ReadAt(text, j.at[key].from); err != nil {
				return err
			}
			add(key, text)
		}
	}
	for _, key := range keys {
		if batch[key] != nil {
			add(key, entry(key, batch[key]))
		}
	}
	if err := errors.Join(out.Flush(), temp.Sync()); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), j.path); err != nil {
		return err
	}
	j.at, j.end, j.live, j.damaged = at, end, end, false
	return nil
}

// begin makes the file of all there is.
func (j *journal) begin(all map[Key][]byte) error {
	j.at, j.live = map[Key]span{}, 0
	return j.rewrite(slices.SortedFunc(maps.Keys(all), compareKeys), all)
}
