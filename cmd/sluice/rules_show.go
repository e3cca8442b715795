package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/rules"
	"github.com/sluice-cni/sluice/rules/backend"
)

func newRulesShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show --netns PATH",
		Short: "Print a namespace's configuration and its rules",
		Long: `show prints the configuration that is kept with a namespace's rules and the plan it
makes, in nft's words, whichever backend holds it. What the kernel really has is
compared with it by 'sluice rules check'.`,
		Args: noArguments,
	}
	netns := addNetnsFlag(c)
	output := formatFlag(c, "text", "json")
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := output.check(); err != nil {
			return usage(err, "usage: "+c.UseLine())
		}
		ns, err := openNetns(*netns)
		if err != nil {
			return err
		}
		defer ns.Close()
		shown, err := show(*netns, ns)
		if err != nil {
			return err
		}
		if output.is("json") {
			return writeJSON(c.OutOrStdout(), shown)
		}
		return shown.print(c.OutOrStdout())
	}
	return c
}

// shownRules are a namespace's rules as they were applied.
type shownRules struct {
	Backend     rules.Backend `json:"backend"`
	Hash        string        `json:"hash"`
	Config      rules.Config  `json:"config"`
	Limitations []string      `json:"limitations,omitempty"`
	Plan        string        `json:"plan"`
}

func show(name string, ns *os.File) (shownRules, error) {
	b, config, err := installed(name, ns)
	if err != nil {
		return shownRules{}, err
	}
	plan, err := rules.NewPlan(config)
	if err != nil {
		return shownRules{}, err
	}
	out := shownRules{Backend: b.Name(), Hash: plan.Hash, Config: config, Plan: plan.String()}
	out.Limitations, err = limitations(b, ns, plan)
	return out, err
}

func limitations(b backend.Backend, ns *os.File, plan rules.Plan) ([]string, error) {
	limits, err := b.Limitations(int(ns.Fd()), plan)
	var out []string
	for _, l := range limits {
		out = append(out, l.String())
	}
	return out, err
}

func (s shownRules) print(w io.Writer) error {
	config, err := json.MarshalIndent(s.Config, "", "  ")
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "# backend %s, configuration sha256:%s\n", s.Backend, s.Hash)
	for _, l := range s.Limitations {
		fmt.Fprintf(w, "# limitation: %s\n", l)
	}
	_, err = fmt.Fprintf(w, "%s\n%s", config, s.Plan)
	return err
}
