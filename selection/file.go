package selection

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

var (
	// ErrNone says that the node never had a policy.
	ErrNone = errors.New("no policy has been compiled yet")
	// ErrTorn says that there is a policy and it cannot be trusted: half written, changed
	// by hand, of another version, or unreadable. Whoever fell back on none here would let
	// pods out that must be captured.
	ErrTorn = errors.New("the compiled policy cannot be used")
)

const (
	fileVersion = 1
	// mostPolicy bounds what is read: a thousand namespaces with all fields take less.
	mostPolicy = 16 << 20
)

// file is what policy.json holds. The checksum is that of the policy's bytes.
type file struct {
	Version  int             `json:"version"`
	Checksum string          `json:"checksum"`
	Policy   json.RawMessage `json:"policy"`
}

// ReadFile reads a compiled policy, whole and valid, or says ErrNone or ErrTorn.
func ReadFile(path string) (*Policy, error) {
	data, err := content(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("policy file %q: %w", path, ErrNone)
	case err != nil:
		return nil, torn(path, err)
	}
	var f file
	if err := strictly(data, &f); err != nil {
		return nil, torn(path, err)
	}
	if f.Version != fileVersion {
		return nil, torn(path, fmt.Errorf("it has version %d, and version %d is known", f.Version, fileVersion))
	}
	if f.Checksum != checksum(f.Policy) {
		return nil, torn(path, errors.New("its checksum is another"))
	}
	p := &Policy{}
	if err := strictly(f.Policy, p); err != nil {
		return nil, torn(path, err)
	}
	if err := p.Validate(); err != nil {
		return nil, torn(path, err)
	}
	return p, nil
}

func torn(path string, err error) error {
	return fmt.Errorf("policy file %q: %w: %w; the agent writes it anew when it starts, 'sluice policy compile' at once", path, ErrTorn, err)
}

// content reads a regular file; a pipe could hold the reader up for ever.
func content(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, mostPolicy+1))
	if err == nil && len(data) > mostPolicy {
		err = fmt.Errorf("it is larger than %d bytes", mostPolicy)
	}
	return data, err
}

func strictly(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return errors.New("something follows the object")
	}
	return nil
}

func checksum(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// WriteFile puts the policy in the file's place at once: a reader finds the old one or
// the new one, after a power cut too. The folder is made where it is missing. A policy
// that is not valid is refused, and the old one stays.
func (p *Policy) WriteFile(path string) error {
	if err := p.Validate(); err != nil {
		return fmt.Errorf("policy file %q: %w", path, err)
	}
	policy, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("policy file %q: %w", path, err)
	}
	data, err := json.Marshal(file{fileVersion, checksum(policy), policy})
	if err != nil {
		return fmt.Errorf("policy file %q: %w", path, err)
	}
	if err := replace(path, append(data, '\n')); err != nil {
		return fmt.Errorf("policy file %q: cannot be written, the old one stays: %w", path, err)
	}
	return nil
}

func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name()) // it is gone by then unless something failed
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(0o600), tmp.Sync(), tmp.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
