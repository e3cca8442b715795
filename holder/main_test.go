package holder

import (
	"os"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == holderProcess {
		os.Exit(runProcess(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == stranger {
		os.Exit(runStranger(os.Args[2]))
	}
	labtest.Main(m)
}
