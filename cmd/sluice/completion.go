package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
)

var shells = []string{"bash", "fish", "zsh"}

func newCompletionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "completion bash|fish|zsh",
		Short: "Print a shell's script that completes sluice's command lines",
		Example: `  source <(sluice completion bash)
  sluice completion fish > ~/.config/fish/completions/sluice.fish`,
		ValidArgs: shells,
		Args: func(c *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usage(fmt.Errorf("%d arguments: name one shell", len(args)), "usage: "+c.UseLine())
			case !slices.Contains(shells, args[0]):
				return usage(fmt.Errorf("shell %q: not known; use bash, fish or zsh", args[0]), "usage: "+c.UseLine())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			switch out := c.OutOrStdout(); args[0] {
			case "bash":
				return c.Root().GenBashCompletionV2(out, true)
			case "fish":
				return c.Root().GenFishCompletion(out, true)
			default:
				return c.Root().GenZshCompletion(out)
			}
		},
	}
}
