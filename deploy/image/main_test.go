package main

import (
	"slices"
	"testing"
)

// The image has the programs, the link that kubectl finds a plugin by, and no shell.
func TestTheImageHasTheProgramsAndNoShell(t *testing.T) {
	t.Parallel()
	i := Image("registry:5000/sluice:1.0", "/some/roots.pem", "bin/sluice", "bin/sluice-cni")
	var got []string
	for _, layer := range i.Layers {
		for _, f := range layer {
			if f.Link != "" {
				got = append(got, f.Path+" > "+f.Link)
				continue
			}
			got = append(got, f.Path)
		}
	}
	want := []string{"/etc/passwd", "/etc/group", "/var/run > /run", "/etc/ssl/certs/ca-certificates.crt", "/sluice-cni", "/sluice", "/kubectl-sluice > sluice"}
	if !slices.Equal(got, want) {
		t.Errorf("the image holds %q, not %q", got, want)
	}
	if !slices.Equal(i.Entrypoint, []string{"/sluice"}) {
		t.Errorf("a container runs %q", i.Entrypoint)
	}
	if got := i.Labels["org.opencontainers.image.version"]; got != "1.0" {
		t.Errorf("its version is %q", got)
	}
}
