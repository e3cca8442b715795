package selection

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"

	"github.com/sluice-cni/sluice/internal/wholefile"
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
	data, err := wholefile.Read(path, mostPolicy)
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
	if err := wholefile.Replace(path, append(data, '\n'), 0o600); err != nil {
		return fmt.Errorf("policy file %q: cannot be written, the old one stays: %w", path, err)
	}
	return nil
}
