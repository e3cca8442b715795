package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// Columns of the help.
const (
	helpWidth = 100
	flagWidth = 32 // at most; longer ones stand on a line of their own
)

// newHelpCommand is `sluice help exec` for `sluice exec --help`.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]...",
		Short: "Show the help of a command",
		RunE: func(c *cobra.Command, args []string) error {
			wanted := c.Root()
			for _, name := range args {
				next, _, err := wanted.Find([]string{name})
				if err != nil || next == wanted {
					return noSuchCommand(wanted, []string{name})
				}
				wanted = next
			}
			wanted.InitDefaultHelpFlag()
			return wanted.Help()
		},
	}
}

func printHelp(c *cobra.Command, _ []string) {
	text := c.Long
	if text == "" {
		text = c.Short
	}
	fmt.Fprintf(c.OutOrStdout(), "%s\n\n", asCalled(c, strings.TrimSpace(text)))
	printUsage(c)
}

// printUsage is what follows a command's description.
func printUsage(c *cobra.Command) error {
	w := c.OutOrStdout()
	fmt.Fprintf(w, "Usage:\n  %s\n", c.UseLine())
	if c.HasExample() {
		fmt.Fprintf(w, "\nExamples:\n%s\n", asCalled(c, c.Example))
	}
	for _, group := range c.Groups() {
		printCommands(c, group.Title, group.ID)
	}
	printCommands(c, "Commands", "")
	printFlags(c, "Flags", c.LocalFlags())
	printFlags(c, "Global flags", c.InheritedFlags())
	return nil
}

// printCommands lists a command's own of a group, "" being those of none.
func printCommands(c *cobra.Command, title, group string) {
	w := c.OutOrStdout()
	for _, sub := range c.Commands() {
		if sub.GroupID != group || !sub.IsAvailableCommand() && sub.Name() != "help" {
			continue
		}
		if title != "" {
			fmt.Fprintf(w, "\n%s:\n", title)
			title = ""
		}
		fmt.Fprintf(w, "  %-*s %s\n", sub.NamePadding(), sub.Name(), sub.Short)
	}
}

func printFlags(c *cobra.Command, title string, flags *pflag.FlagSet) {
	w := c.OutOrStdout()
	if !flags.HasAvailableFlags() {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", title)
	flags.VisitAll(func(f *pflag.Flag) {
		if f.Hidden {
			return
		}
		name, text := describeFlag(f)
		lines := wrap(asCalled(c, text), helpWidth-flagWidth)
		if len(name) >= flagWidth {
			fmt.Fprintln(w, name)
			name = ""
		}
		for _, line := range lines {
			fmt.Fprintf(w, "%-*s%s\n", flagWidth, name, line)
			name = ""
		}
	})
}

// describeFlag gives a flag as it is typed, and what it is for.
func describeFlag(f *pflag.Flag) (name, text string) {
	value, text := pflag.UnquoteUsage(f)
	name = "      --" + f.Name
	if f.Shorthand != "" {
		name = "  -" + f.Shorthand + ", --" + f.Name
	}
	if value != "" {
		name += " " + value
	}
	switch {
	case f.DefValue == "" || f.DefValue == "false" || f.DefValue == "[]":
	case strings.Contains(text, "(default "): // its own words say it
	case f.Value.Type() == "string":
		text += fmt.Sprintf(" (default %q)", f.DefValue)
	default:
		text += fmt.Sprintf(" (default %s)", f.DefValue)
	}
	return name, text
}

// wrap breaks a text into lines.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines = append(lines, line)
			line = word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}
