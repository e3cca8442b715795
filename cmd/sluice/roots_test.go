package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A folder that is mounted over the system's is of use only with what its files are.
func TestTheLogSaysWhichAuthoritiesAreTrusted(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	bundle := filepath.Join(folder, "ca-certificates.crt")
	says := func(want string) {
		t.Helper()
		if got := trusted([]string{bundle}, []string{filepath.Join(folder, "none"), folder}); !strings.HasPrefix(got, want) {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
	says("Mozilla's")
	if err := os.Symlink("/nowhere/tls-ca-bundle.pem", bundle); err != nil {
		t.Fatal(err)
	}
	says("Mozilla's")
	if err := os.WriteFile(filepath.Join(folder, "one.pem"), []byte("# of a company\n-----BEGIN CERTIFICATE-----\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(folder)
	if err := os.Remove(bundle); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(bundle, []byte("any"), 0o600); err != nil {
		t.Fatal(err)
	}
	says(bundle)
}
