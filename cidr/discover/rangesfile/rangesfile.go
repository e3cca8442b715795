// Package rangesfile keeps a cluster's ranges in a file between `sluice cidr
// --write`, which found them, and whoever is told includeIPRanges auto and may not
// ask an API server: the CNI plugin foremost. It links nothing that would make that
// program large.
package rangesfile

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/cidr"
	"github.com/sluice-cni/sluice/internal/remedy"
	"github.com/sluice-cni/sluice/internal/wholefile"
)

// DefaultPath survives a reboot, and lies outside of /etc/sluice, where every .json
// file is a resource.
const DefaultPath = "/var/lib/sluice/ranges.json"

// File is what the file holds.
type File struct {
	Version    int        `json:"version"`
	Written    time.Time  `json:"written"`
	ValidUntil *time.Time `json:"validUntil,omitempty"` // nil: for good
	Ranges     []string   `json:"ranges"`               // merged
	Sources    []Source   `json:"sources,omitempty"`    // for people
}

// Source says where a range was found.
type Source struct {
	Range string `json:"range"`
	Kind  string `json:"kind"`
	From  string `json:"from"`
}

const (
	version = 1
	// most bounds what is read: 100 000 ranges with their sources take less.
	most = 32 << 20
)

// hint is what to do about every file that cannot be used, to be pasted as it is.
func hint(path string) string {
	return strings.ReplaceAll(remedy.Here().Say(remedy.Ranges), "FILE", path)
}

// Read gives the ranges of a file that is there, whole, and not out of date at the
// given time. Anything else is an error: whoever falls back on "no range" leaks, and
// whoever falls back on "*" cuts a pod off from what nobody meant to govern.
func Read(path string, now time.Time) (cidr.List, error) {
	f, err := Load(path)
	if err != nil {
		return cidr.List{}, err
	}
	if f.ValidUntil != nil && now.After(*f.ValidUntil) {
		return cidr.List{}, fmt.Errorf("file %q: out of date since %s (written %s); %s", path, stamp(*f.ValidUntil), stamp(f.Written), hint(path))
	}
	list, _, err := cidr.ParseElements(f.Ranges)
	if err != nil {
		return cidr.List{}, fmt.Errorf("file %q: %w; %s", path, err, hint(path))
	}
	return list, nil
}

// Load reads a file without judging its age or its ranges.
func Load(path string) (File, error) {
	data, err := content(path)
	if err != nil {
		return File{}, fmt.Errorf("file %q: %w; %s", path, err, hint(path))
	}
	var f File
	d := json.NewDecoder(bytes.NewReader(data))
	err = d.Decode(&f)
	switch {
	case err == nil && d.More():
		err = errors.New("something follows the object")
	case err == nil && f.Version != version:
		err = fmt.Errorf("has version %d, and version %d is known", f.Version, version)
	case err == nil && len(f.Ranges) == 0:
		err = errors.New("holds no range")
	}
	if err != nil {
		return File{}, fmt.Errorf("file %q: not a file of ranges: %w; %s", path, err, hint(path))
	}
	return f, nil
}

// errMissing is fs.ErrNotExist in a sentence about the file.
type errMissing struct{}

func (errMissing) Error() string   { return "is missing" }
func (errMissing) Is(e error) bool { return e == fs.ErrNotExist }

func content(path string) ([]byte, error) {
	data, err := wholefile.Read(path, most)
	var failed *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errMissing{}
	case errors.As(err, &failed):
		return nil, fmt.Errorf("cannot be read: %w", failed.Err)
	case err != nil:
		return nil, fmt.Errorf("is %w", err)
	}
	return data, nil
}

// Write replaces the file at once: a reader finds the old one or the new one, after
// a power cut too. The folder is made where it is missing.
func Write(path string, f File) error {
	f.Version = version
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	if err := wholefile.Replace(path, append(data, '\n'), 0o644); err != nil {
		return fmt.Errorf("file %q: cannot be written: %w", path, err)
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
