package main

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const referencePage = "../../docs/cli.md"

// The reference cannot lie: it is printed from the commands themselves.
func TestReferenceSaysWhatTheCommandsDo(t *testing.T) {
	t.Parallel()
	want := referenceText()
	if *update {
		if err := os.WriteFile(referencePage, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("%s is out of date: run `go test ./cmd/sluice -run Reference -update` (-want +got):\n%s", referencePage, diff)
	}
}

const referenceHead = `# sluice on the command line

<!-- written by ` + "`go test ./cmd/sluice -run Reference -update`" + ` -->

Every flag may be written in camelCase too: ` + "`--includeIPRanges` is `--include-ip-ranges`" + `.
` + "`sluice COMMAND --help`" + ` says the same with longer words. The exit code is 0 when all is
well, 1 when something failed, and 2 when the command line makes no sense.

| command | does |
|---|---|
`

func referenceText() string {
	var head, body strings.Builder
	head.WriteString(referenceHead)
	everyCommand(func(path []string, c *cobra.Command) {
		if c.Hidden || len(path) == 0 {
			return
		}
		name := "sluice " + strings.Join(path, " ")
		fmt.Fprintf(&head, "| [`%s`](#%s) | %s |\n", name, strings.ReplaceAll(name, " ", "-"), c.Short)
		fmt.Fprintf(&body, "\n## %s\n\n%s\n\n```\n%s\n```\n", name, describeCommand(c), c.UseLine())
		flags := flagRows(c)
		if flags != "" {
			fmt.Fprintf(&body, "\n| flag | meaning |\n|---|---|\n%s", flags)
		}
		if c.Example != "" {
			fmt.Fprintf(&body, "\n```sh\n%s\n```\n", strings.ReplaceAll(strings.TrimPrefix(c.Example, "  "), "\n  ", "\n"))
		}
	})
	return head.String() + body.String()
}

func describeCommand(c *cobra.Command) string {
	if c.Long == "" {
		return c.Short + "."
	}
	return strings.ReplaceAll(strings.ReplaceAll(c.Long, "<", "&lt;"), "*", "\\*")
}

func flagRows(c *cobra.Command) string {
	var out strings.Builder
	c.LocalFlags().VisitAll(func(f *pflag.Flag) {
		if f.Hidden || f.Name == "help" {
			return
		}
		name, text := describeFlag(f)
		fmt.Fprintf(&out, "| `%s` | %s |\n", strings.TrimSpace(name), strings.NewReplacer("|", "\\|", "*", "\\*").Replace(text))
	})
	return out.String()
}
