package file

import (
	"errors"
	"io/fs"
	"os"

	"github.com/sluice-cni/sluice/mesh"
)

// Missing warns of files that resources name and that are not on this machine.
// The proxy may run on another one, so it is no more than a warning.
func Missing(resources []*mesh.Resource) mesh.Issues {
	var issues mesh.Issues
	for _, r := range resources {
		for _, f := range r.Files() {
			if complaint := missing(f.Path); complaint != "" {
				issues = append(issues, r.Issue(mesh.Warning, f.Field, f.Path,
					complaint+"; put it there where the proxy runs, or requests to the host are answered 503"))
			}
		}
	}
	return issues
}

func missing(path string) string {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "there is no such file on this machine"
	case err != nil:
		return "cannot be looked at on this machine (" + reason(err) + ")"
	case info.IsDir():
		return "a directory on this machine; name a file"
	}
	return ""
}
