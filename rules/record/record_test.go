package record_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/record"
	"github.com/sluice-cni/sluice/rules/rulestest"
)

func full(t *testing.T) record.Record {
	t.Helper()
	c := rulestest.Config(t, "includeIPRanges="+strings.Repeat("10.0.0.0/8,", 200)+"2001:db8::/32", "failurePolicy=bypass")
	p, err := rules.NewPlan(c, rules.Running(), rules.NodeMode(), rules.FromAuto(), rules.Gated(3*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	r, err := record.New(p)
	if err != nil {
		t.Fatal(err)
	}
	r.WithoutFrames, r.Disabled, r.Interfaces = true, true, []string{"eth0", "net1"}
	return r
}

func TestWhatIsRecordedIsReadBack(t *testing.T) {
	t.Parallel()
	r := full(t)
	want, err := r.Read("x")
	if err != nil || want.Config.Hash() != r.Hash {
		t.Fatalf("%+v, %v", want, err)
	}
	for _, plainBytes := range []int{0, 1 << 20} {
		lines := append(r.Lines(plainBytes), "anybody's", "config sha512:x")
		for _, line := range lines {
			if len(line) > 255 {
				t.Errorf("the kernel has no room for %d bytes: %s", len(line), line)
			}
		}
		back := record.Parse(slices.Values(lines))
		got, err := back.Read("x")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		if !back.WithoutFrames || !slices.Equal(back.Interfaces, r.Interfaces) {
			t.Errorf("%+v", back)
		}
	}
	if none := record.Parse(slices.Values([]string{"disabled", "config json {}"})); none.Hash != "" {
		t.Errorf("a record without a hash: %+v", none)
	}
}

// What is of another version, or was changed, is not taken for a configuration.
func TestAConfigurationThatIsNotItsHashsIsRefused(t *testing.T) {
	t.Parallel()
	for what, change := range map[string]func(line string) string{
		"nothing is left of it": func(line string) string { return strings.Replace(line, "config deflate", "config brotli", 1) },
		"it cannot be unpacked": func(line string) string { return strings.Replace(line, "config deflate ", "config deflate !", 1) },
		"it is another's":       func(line string) string { return strings.Replace(line, "config sha256:", "config sha256:0", 1) },
	} {
		var lines []string
		for _, line := range full(t).Lines(0) {
			lines = append(lines, change(line))
		}
		if got, err := record.Parse(slices.Values(lines)).Read("table x"); err == nil || !strings.HasPrefix(err.Error(), "table x: holds no configuration that can be read back") {
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}
