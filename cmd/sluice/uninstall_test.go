package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// A node whose image brings the plugin in a directory that nobody can write is done all the
// same: who failed there would be started again for ever.
func TestAPluginInAReadOnlyDirectoryStays(t *testing.T) {
	t.Parallel()
	o := uninstallOptions{nodeOptions: nodeOptions{binDir: t.TempDir()}}
	plugin := filepath.Join(o.binDir, "sluice-cni")
	var out bytes.Buffer
	failed := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its mounts
		failed <- func() error {
			if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
				return err
			}
			if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
				return err
			}
			if err := unix.Mount("tmpfs", o.binDir, "tmpfs", 0, ""); err != nil {
				return err
			}
			if err := os.WriteFile(plugin, []byte("a program, of some length"), 0o755); err != nil {
				return err
			}
			if err := unix.Mount("", o.binDir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
				return err
			}
			c := newUninstallCommand()
			c.SetContext(t.Context())
			c.SetOut(&out)
			return o.retire(c)
		}()
	}()
	if err := <-failed; err != nil || !strings.Contains(out.String(), plugin+" stays as it is") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
