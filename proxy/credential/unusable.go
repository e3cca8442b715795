package credential

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// Unusable warns of certificates on this machine that TLS cannot be spoken with, and where a
// directory of credentials is given, of those that are not in it. Of files that are not there
// at all missing has warned already.
func Unusable(resources []*mesh.Resource, directory string, missing mesh.Issues) mesh.Issues {
	store := NewStore(Directory(directory), slog.New(slog.DiscardHandler))
	material := func(t *mesh.TLSSettings, namespace string) error {
		m, err := store.Open(For(t, namespace)).Material() // kept for the next that names the same
		if err == nil && m.Pair != nil {
			return outOfDate(m.Pair.Leaf, time.Now())
		}
		return err
	}
	var issues mesh.Issues
	for _, r := range resources {
		for _, f := range r.Files() {
			if !filepath.IsAbs(f.Path) {
				issues = append(issues, r.Issue(mesh.Warning, f.Field, f.Path,
					"is looked for from the directory that the proxy was started in; write the whole path, from / on"))
			}
		}
		for _, o := range r.Originations() {
			switch {
			case o.TLS.Credential == "" && !anyMissing(missing, r, o):
				if err := material(o.TLS, ""); err != nil {
					issues = append(issues, r.Issue(mesh.Warning, o.Field, "", why(err)+"; put a good one there where the proxy runs"))
				}
			case o.TLS.Credential != "" && directory != "":
				if complaint := inNoNamespace(directory, o.TLS, material); complaint != "" {
					issues = append(issues, r.Issue(mesh.Warning, o.Field+".credentialName", o.TLS.Credential, complaint))
				}
			}
		}
	}
	return issues
}

// outOfDate says that a client's certificate is not valid at a time; nil: it is.
func outOfDate(c *x509.Certificate, now time.Time) error {
	switch {
	case c == nil:
	case now.After(c.NotAfter):
		return fmt.Errorf("the client's certificate has expired on %s", c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("the client's certificate is not valid before %s", c.NotBefore.UTC().Format(time.RFC3339))
	}
	return nil
}

// anyMissing says whether one of an origination's files is among those that are missing.
func anyMissing(missing mesh.Issues, r *mesh.Resource, o mesh.Origination) bool {
	return slices.ContainsFunc(r.Files(), func(f mesh.File) bool {
		return strings.HasPrefix(f.Field, o.Field+".") && slices.ContainsFunc(missing, func(i mesh.Issue) bool { return i.Value == f.Path })
	})
}

// inNoNamespace says what is wrong with a credential. It is looked for in the namespace
// of each workload, so one namespace that has it is enough.
func inNoNamespace(dir string, t *mesh.TLSSettings, material func(*mesh.TLSSettings, string) error) string {
	namespaces, err := os.ReadDir(dir)
	if err != nil {
		return "cannot be looked for: " + reason(err).Error() + "; name its directory with --credentials"
	}
	found := false
	for _, n := range namespaces {
		if strings.HasPrefix(n.Name(), ".") {
			continue // a mount's own
		}
		switch err := material(t, n.Name()); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Sprintf("in namespace %s: %s; correct it, or requests to the host are answered 503", n.Name(), why(err))
		default:
			found = true
		}
	}
	if found {
		return ""
	}
	return fmt.Sprintf("no namespace below %s has a credential of that name; make it, or requests to the host are answered 503", dir)
}

// why leaves out which certificates an error is about: the field tells.
func why(err error) string {
	var about *Error
	if errors.As(err, &about) {
		err = about.Err
	}
	return err.Error()
}
