package egress

import (
	"os"
	"path/filepath"
	"strings"
	"text/template"
	"time"

	"github.com/sluice-cni/sluice/internal/await"
	"github.com/sluice-cni/sluice/mesh"
)

// patience bounds every wait for what should take milliseconds.
const patience = await.Patience

// Apply puts resources in force and returns what sluice says about them. What was
// applied before is gone. The text is a template: {{ca}} is the file of the Internet's
// authority, {{cert "who"}} and {{key "who"}} are files of a client certificate with
// that common name, {{v4 "host"}} and {{v6 "host"}} are the host's addresses. An error
// in it ends the test.
func (p *Pod) Apply(yaml string) mesh.Issues {
	p.T.Helper()
	issues := p.Offer(yaml)
	if issues.HasErrors() {
		p.T.Fatalf("the resources are not accepted:\n%s", issues)
	}
	return issues
}

// Offer is Apply for resources that may have errors: what was in force stays so then.
func (p *Pod) Offer(yaml string) mesh.Issues {
	p.T.Helper()
	text := p.expand(yaml)
	if old, err := os.ReadFile(filepath.Join(p.dir, applied)); err == nil && string(old) == text {
		return p.store.Issues()
	}
	_, changed := p.force.now()
	p.Write(applied, text)
	select {
	case <-changed:
	case <-time.After(patience):
		p.T.Fatalf("not in force within %s:\n%s", patience, text)
	}
	return p.store.Issues()
}

// applied is the name of Apply's file.
const applied = "applied.yaml"

func (p *Pod) expand(yaml string) string {
	p.T.Helper()
	file := func(which int) func(string) string {
		return func(who string) string { return p.Net.clientCertificate(who)[which] }
	}
	address := func(family int) func(string) string {
		return func(host string) string { return p.Net.Name(host)[family].String() }
	}
	t, err := template.New("").Funcs(template.FuncMap{
		"ca":   func() string { return p.Net.CA },
		"cert": file(0), "key": file(1), "crl": p.Net.revoked,
		"v4": address(0), "v6": address(1),
	}).Parse(yaml)
	Must(p.T, err)
	var out strings.Builder
	Must(p.T, t.Execute(&out, nil))
	return out.String()
}

// Credential gives the workload a credential: files by key, or {{ca}} and the like.
func (p *Pod) Credential(name string, files map[string]string) {
	p.T.Helper()
	dir := filepath.Join(p.credentials, p.namespace, name)
	Must(p.T, os.MkdirAll(dir, 0o755))
	for key, file := range files {
		data, err := os.ReadFile(p.expand(file))
		Must(p.T, err)
		Must(p.T, os.WriteFile(filepath.Join(dir, key), data, 0o600))
	}
}

// Write puts a file into the watched directory the way an editor does. It is in force
// a little later; see Apply and Eventually.
func (p *Pod) Write(name, yaml string) {
	p.T.Helper()
	temporary := filepath.Join(p.dir, "."+name)
	Must(p.T, os.WriteFile(temporary, []byte(yaml), 0o644))
	Must(p.T, os.Rename(temporary, filepath.Join(p.dir, name)))
}

// Changes counts how often another configuration came in force.
func (p *Pod) Changes() int {
	n, _ := p.force.now()
	return n
}
