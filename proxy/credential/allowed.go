package credential

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Authorities lets resources name, as files, certificate authorities and revocation lists
// that are one of some paths or lie below one, and no client's certificate or key: for
// Store.Files where those who write resources have no say over the machine whose files they
// are. field is that of a DestinationRule, or its last part.
func Authorities(paths ...string) func(field, path string) error {
	return func(field, path string) error {
		switch field[strings.LastIndexByte(field, '.')+1:] {
		case "clientCertificate", "privateKey":
			return errors.New("is a file of the node's, of which the agent presents none; put certificate and key into a Secret of the workload's namespace, and name that as credentialName")
		}
		clean := filepath.Clean(path)
		if filepath.IsAbs(clean) && slices.ContainsFunc(paths, func(allowed string) bool {
			allowed = filepath.Clean(allowed)
			return clean == allowed || strings.HasPrefix(clean, allowed+"/")
		}) {
			return nil
		}
		return fmt.Errorf("is a file of the node's, of which the agent reads those in %s; name one of these, or a Secret of the workload's namespace as credentialName", strings.Join(paths, ", "))
	}
}

// allowed says which of the files may not be read.
func (w Wanted) allowed(may func(field, path string) error) error {
	if may == nil || w.Name != "" {
		return nil
	}
	for _, f := range w.files() {
		if err := may(f.field, f.path); err != nil {
			return fmt.Errorf("%s %q: %w", f.field, f.path, err)
		}
	}
	return nil
}
