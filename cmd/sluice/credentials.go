package main

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/proxy/credential"
)

func credentialsFlag(c *cobra.Command) {
	c.Flags().String("credentials", "", "directory `DIR` of credentials: NAMESPACE/NAME in it has a file for each key of a Secret (tls.crt, tls.key, ca.crt, ca.crl), read again when it changes (default $SLUICE_CREDENTIALS, else none)")
}

// credentialStore has the credentials that --credentials or the environment names. Its
// directory must be there; what is in it may come later.
func credentialStore(c *cobra.Command, log *slog.Logger) (*credential.Store, error) {
	dir, err := credentialsDir(c)
	if err != nil {
		return nil, err
	}
	if dir == "" {
		return credential.NewStore(nil, log), nil
	}
	return credential.NewStore(credential.Directory(dir), log), nil
}

// credentialsDir is "" where nobody names one.
func credentialsDir(c *cobra.Command) (string, error) {
	dir := cmp.Or(flagValue(c, "credentials"), os.Getenv("SLUICE_CREDENTIALS"))
	if dir == "" {
		return "", nil
	}
	info, err := os.Stat(dir)
	if err == nil && !info.IsDir() {
		err = errors.New("not a directory")
	}
	if err != nil {
		return "", hinted(fmt.Errorf("--credentials %q: cannot be read: %w", dir, reason(err)),
			"mkdir -p "+quoted(dir)+", or name another with --credentials or SLUICE_CREDENTIALS")
	}
	return dir, nil
}
