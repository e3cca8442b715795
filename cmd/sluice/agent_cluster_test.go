package main

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/install"
)

func TestAChartsAddressIsUnderstood(t *testing.T) {
	t.Parallel()
	for given, want := range map[string]string{
		"10.0.0.1:15090": "10.0.0.1:15090", ":15090": ":15090", "off": "off", "": "", "[::1]:15090": "[::1]:15090",
		"2001:db8::1:15090": "[2001:db8::1]:15090", "fd00::a:b:15090": "[fd00::a:b]:15090", "nonsense": "nonsense",
	} {
		if got := ipv6Bracketed(given); got != want {
			t.Errorf("%q is %q, want %q", given, got, want)
		}
	}
}

func TestAClusterIsFollowedInsteadOfADirectory(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		o      kubernetesOptions
		config string
		want   string
	}{
		{kubernetesOptions{}, "/etc/sluice", ""},
		{kubernetesOptions{from: ownCluster, node: "a", domain: "cluster.local"}, "", ""},
		{kubernetesOptions{from: ownCluster, node: "a", domain: "cluster.local"}, "/etc/sluice", `--config "/etc/sluice": not beside --kubernetes`},
		{kubernetesOptions{from: ownCluster, domain: "cluster.local"}, "", "NODE_NAME"},
	} {
		err := test.o.check(test.config)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v with --config %q: %v", test.o, test.config, err)
		}
	}
}

// A node's taint stays while pods that start would not be captured.
func TestANodeTakesPodsOncePluginAndEntryAreInPlace(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "10-net.conflist"), []byte(`{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"ptp"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	lease := filepath.Join(t.TempDir(), leaseName)
	ready := func() error { return nil }
	if err := takesPods(ready, lease); err == nil || !strings.Contains(err.Error(), "has not begun") {
		t.Errorf("without an installer: %v", err)
	}
	i, err := install.New(install.Options{ConfDir: dir, Mode: install.DropIn, Entry: install.NodeEntry(), Lease: lease, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	i.Watch(ctx, nil, cancel)
	if err := takesPods(ready, lease); err != nil {
		t.Error(err)
	}
	unready := errors.New("pods are being taken over")
	if err := takesPods(func() error { return unready }, lease); err != unready {
		t.Error(err)
	}
}
