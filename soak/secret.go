package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// credentialName is the one credential that rules name.
const credentialName = "soak"

// credentials is the proxy's directory of credentials.
func credentials(dir string) string { return filepath.Join(dir, "credentials") }

// secret is a directory as the kubelet writes it for a volume: the files lead through
// a link that is replaced, so that all of them change at once.
type secret struct {
	dir     string
	version int
}

func (s *secret) write(files map[string][]byte) error {
	s.version++
	fresh := fmt.Sprintf("..%d", s.version)
	if err := os.MkdirAll(filepath.Join(s.dir, fresh), 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(s.dir, fresh, name), data, 0o600); err != nil {
			return err
		}
		if s.version == 1 {
			if err := os.Symlink(filepath.Join("..data", name), filepath.Join(s.dir, name)); err != nil {
				return err
			}
		}
	}
	link := filepath.Join(s.dir, "..data")
	return errors.Join(
		os.Symlink(fresh, link+".new"), os.Rename(link+".new", link),
		os.RemoveAll(filepath.Join(s.dir, fmt.Sprintf("..%d", s.version-1))))
}
