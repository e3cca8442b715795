package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// Command lines that pages tell people to type have commands and flags that there are.
func TestCommandLinesInPagesMakeSense(t *testing.T) {
	t.Parallel()
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	pages = slices.DeleteFunc(append(pages, "../../README.md"), func(path string) bool { return filepath.Base(path) == "cli.md" })
	// In `quotes`, at the beginning of a line, or as a program with its path.
	line := regexp.MustCompile("(?m)(?:^|`|/)sluice ([a-z][^\n`|>&]*)")
	checked := 0
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(text), -1) {
			typed, _, _ := strings.Cut(m[1], "  #")
			words := strings.Fields(typed)
			c, rest, err := newRootCommand().Find(words)
			if err != nil || !c.HasParent() {
				if len(words) > 1 && strings.HasPrefix(words[1], "-") {
					t.Errorf("%s: sluice %s: there is no such command", page, typed)
				}
				continue // a sentence
			}
			checked++
			flags := c.Flags()
			flags.AddFlagSet(c.InheritedFlags())
			for _, word := range rest {
				if word == "--" {
					break
				}
				name, _, _ := strings.Cut(strings.TrimRight(word, ".,;:)'\""), "=")
				var known *pflag.Flag
				switch long, short := strings.TrimPrefix(name, "--"), strings.TrimPrefix(name, "-"); {
				case name == "-" || !strings.HasPrefix(name, "-"):
					continue
				case long != name:
					known = flags.Lookup(long)
				case len(short) == 1:
					known = flags.ShorthandLookup(short)
				default:
					continue // dashes in a sentence
				}
				if known == nil {
					t.Errorf("%s: sluice %s: there is no flag %s", page, typed, name)
				}
			}
		}
	}
	if checked < 80 {
		t.Errorf("only %d command lines were found: is this test blind?", checked)
	}
}
