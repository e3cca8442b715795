package sluice_test

import (
	"context"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/sluice-cni/sluice/mesh/file"
	"github.com/sluice-cni/sluice/proxy"
	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/nft"
)

// serve and program have the lines that README.md shows under "Use it from Go", so that
// they are compiled.
func serve(ctx context.Context) error {
	var listeners []*net.TCPListener                       // what the rules redirect to
	store, err := file.Open("/etc/sluice", file.Options{}) // mesh/file: the YAML
	if err != nil {
		return err
	}
	server, err := proxy.New(proxy.Config{Listeners: listeners})
	if err != nil {
		return err
	}
	store.Subscribe(server.Update)
	go store.Run(ctx)
	err = server.Serve(ctx)
	return err
}

func program(netns *os.File) error {
	plan, err := rules.NewPlan(rules.Default())
	if err != nil {
		return err
	}
	err = nft.Apply(int(netns.Fd()), plan)
	return err
}

func TestTheGoOfTheREADMECompiles(t *testing.T) {
	t.Parallel()
	_, _ = serve, program
	plain := func(text string) string { return regexp.MustCompile(` +`).ReplaceAllString(text, " ") }
	code := plain(tracked(t, "readme_test.go")["readme_test.go"])
	shown := 0
	for _, block := range regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(pages(t)["README.md"], -1) {
		for line := range strings.Lines(block[1]) {
			shown++
			if line = strings.TrimSpace(plain(line)); !strings.Contains(code, "\t"+line+"\n") {
				t.Errorf("README.md has Go that is not compiled here: %s", line)
			}
		}
	}
	if shown < 6 {
		t.Errorf("only %d lines were found: is this test blind?", shown)
	}
}
