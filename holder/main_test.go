package holder

import (
	"os"
	"runtime"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// Goroutines that enter namespaces end with their threads; the main one does not end.
func init() { runtime.LockOSThread() }

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == holderProcess {
		os.Exit(runProcess(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == stranger {
		os.Exit(runStranger(os.Args[2]))
	}
	labtest.Main(m)
}
