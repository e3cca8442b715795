package egress

import (
	"flag"
	"testing"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// atATime is how many pods there are at a time, unless -parallel says otherwise: they
// wait (for the watched directory, for the access log) more than they work.
const atATime = "6"

// Main is labtest.Main for packages whose tests have a pod each. Use it as TestMain's
// whole body.
func Main(m *testing.M) {
	flag.Parse()
	asked := false
	flag.Visit(func(f *flag.Flag) { asked = asked || f.Name == "test.parallel" })
	if !asked {
		flag.Set("test.parallel", atATime)
	}
	labtest.Main(m)
}
