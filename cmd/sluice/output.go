package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// format is -o: in which of several forms a command prints.
type format struct {
	text    *string
	usual   string
	choices []string // that have a name
}

// formatFlag adds -o. usual is the form without it, and "" where that has no name.
func formatFlag(c *cobra.Command, usual string, others ...string) format {
	f := format{usual: usual, choices: others}
	if usual != "" {
		f.choices = append([]string{usual}, others...)
	}
	f.text = c.Flags().StringP("output", "o", usual, "`FORMAT`: "+f.known())
	return f
}

// known lists the choices.
func (f format) known() string {
	last := len(f.choices) - 1
	return strings.Join(f.choices[:last], ", ") + " or " + f.choices[last]
}

// is says whether that form is asked for.
func (f format) is(name string) bool { return *f.text == name }

// check says that there is no such form.
func (f format) check() error {
	if f.is(f.usual) || slices.Contains(f.choices, *f.text) {
		return nil
	}
	return fmt.Errorf("--output %q: not known; use %s", *f.text, f.known())
}

func writeJSON(w io.Writer, what any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(what)
}
