package plugin

import (
	"errors"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
)

func TestAPanicBecomesAnError(t *testing.T) {
	err := (&verbs{}).once(func(*skel.CmdArgs) error { panic("no such thing") })(nil)
	var e *types.Error
	if !errors.As(err, &e) || e.Code != types.ErrInternal || !strings.Contains(e.Msg, "no such thing") || e.Details == "" {
		t.Errorf("%+v", err)
	}
}
