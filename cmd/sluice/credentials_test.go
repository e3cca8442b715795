package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/proxy/credential"
)

func TestTheDirectoryOfCredentialsMustBeThere(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, construct := range []func() *cobra.Command{newProxyCommand, newExecCommand} {
		for dir, want := range map[string]string{missing: "no such file", file: "not a directory"} {
			for _, byFlag := range []bool{true, false} {
				command := construct()
				t.Setenv("SLUICE_CREDENTIALS", dir)
				argv := []string{} // nil would be the test binary's
				if byFlag {
					t.Setenv("SLUICE_CREDENTIALS", "")
					argv = []string{"--credentials", dir}
				}
				if command.Name() == "exec" {
					argv = append(argv, "true")
				}
				command.SetArgs(argv)
				command.SetOut(io.Discard)
				command.SetErr(io.Discard)
				if err := command.Execute(); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("--credentials %q: cannot be read: %s", dir, want)) {
					t.Errorf("%s: %v", command.Name(), err)
				}
			}
		}
	}
}

func TestTheFlagForCredentialsWinsOverTheEnvironment(t *testing.T) {
	one, other := t.TempDir(), t.TempDir()
	t.Setenv("SLUICE_CREDENTIALS", other)
	c := &cobra.Command{}
	credentialsFlag(c)
	for _, dir := range []string{other, one} {
		if dir == one {
			c.Flags().Set("credentials", one)
		}
		store, err := credentialStore(c, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		_, err = store.Open(credential.Wanted{Namespace: "default", Name: "x", Verify: true}).Material()
		if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "default", "x")) {
			t.Errorf("%v is not about %s", err, dir)
		}
	}
}
