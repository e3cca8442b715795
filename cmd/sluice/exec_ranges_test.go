package main

import (
	"io"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-cni/sluice/cidr/discover/rangesfile"
)

func TestExecGovernsTheClustersRangesWhenToldAuto(t *testing.T) {
	t.Parallel()
	o := execOptions{include: "auto", rangesFile: filepath.Join(t.TempDir(), "ranges.json")}
	if _, err := o.governed(io.Discard); err == nil || !strings.Contains(err.Error(), `--include-ip-ranges "auto": file`) {
		t.Error(err)
	}
	if err := rangesfile.Write(o.rangesFile, rangesfile.File{Written: time.Now(), Ranges: []string{"10.4.0.0/14"}}); err != nil {
		t.Fatal(err)
	}
	governed, err := o.governed(io.Discard)
	if err != nil || !governed(netip.MustParseAddrPort("10.7.1.1:80")) || governed(netip.MustParseAddrPort("10.8.1.1:80")) {
		t.Error(err)
	}
}
