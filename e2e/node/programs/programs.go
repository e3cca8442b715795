package programs

import (
	"os"
	"path/filepath"

	"github.com/sluice-cni/sluice/internal/built"
	"github.com/sluice-cni/sluice/plugin/cnitest"
)

// folderEnv carries the folder of this tree's programs into the isolated copy of the
// test process.
const folderEnv = "SLUICE_TEST_NODE_PROGRAMS"

// Build builds this tree's programs into dir: sluice, with the race detector where race
// is set (which takes a C compiler), as kubectl's plugin too, and what runs in the pods of
// the tests. It also builds the CNI plugins (cnitest.Folder).
func Build(dir string, race bool) error {
	if os.Getenv(folderEnv) != "" {
		return nil
	}
	if _, err := cnitest.Build(); err != nil {
		return err
	}
	root, err := built.Root()
	if err != nil {
		return err
	}
	if race {
		err = built.Racing(root, dir+"/", "./cmd/sluice")
	} else {
		err = built.Go(root, dir+"/", "./cmd/sluice")
	}
	if err != nil {
		return err
	}
	if err := os.Symlink("sluice", filepath.Join(dir, "kubectl-sluice")); err != nil {
		return err
	}
	for _, target := range []string{"./e2e/node/incontainer", "./e2e/node/attempts"} {
		if err := built.Go(root, dir+"/", target); err != nil {
			return err
		}
	}
	return os.Setenv(folderEnv, dir)
}

// Sluice is the program sluice.
func Sluice() string { return filepath.Join(os.Getenv(folderEnv), "sluice") }

// InContainer is the program that runs in the containers of the tests.
func InContainer() string { return filepath.Join(os.Getenv(folderEnv), "incontainer") }

// Attempts is the program that tries to get past the rules of the pod it runs in.
func Attempts() string { return filepath.Join(os.Getenv(folderEnv), "attempts") }
