package rows

import (
	"testing"

	"github.com/sluice-cni/sluice/e2e/egress"
)

func TestMain(m *testing.M) { egress.Main(m) }
