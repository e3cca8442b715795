package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent/client"
	"github.com/sluice-cni/sluice/holder"
	"github.com/sluice-cni/sluice/proxy/observed"
)

type suggestOptions struct {
	runDir string
	file   string
}

func newSuggestCommand() *cobra.Command {
	var o suggestOptions
	c := &cobra.Command{
		Use:   "suggest",
		Short: "Print ServiceEntries for what outboundPolicy Observe let pass",
		Long: `suggest prints the ServiceEntries that let pass, under REGISTRY_ONLY, what pods under
outboundPolicy Observe asked for and nobody registers: one for each namespace and name, or
address where there was no name, with every port that was asked for. Each is for its own
namespace only. It says in a comment how often each was asked for and when, and, from an
access log, what was never reached. What pods ask for is not what they should be allowed:
read it, leave out what does not belong there, and apply the rest.

Without -f the node's agent is asked for what it has seen since it started. With -f an
access log in JSON is read, of one agent or of many; lines that are none, as the
agent's own messages are, are passed over and counted on standard error.`,
		Example: `  kubectl -n sluice-system logs -l app.kubernetes.io/component=agent -c agent --tail=-1 \
    --max-log-requests=1000 | sluice suggest -f - -n shop
  sluice suggest > egress.yaml
  sluice validate egress.yaml`,
	}
	f := c.Flags()
	f.StringVarP(&o.file, "filename", "f", "", "`FILE` of an access log in JSON, - for standard input (default: ask the node's agent)")
	f.StringVar(&o.runDir, "run-dir", holder.DefaultRunDir, "`DIR` of the agent's socket, agent.sock")
	namespaceFlag(c, "`NAMESPACE` of pods (default all)")
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage(fmt.Errorf("argument %q: not wanted; -f names an access log", args[0]), "usage: "+c.UseLine())
		}
		return o.run(c)
	}
	return c
}

func (o suggestOptions) run(c *cobra.Command) error {
	rows, nothing, err := o.rows(c)
	if err != nil {
		return err
	}
	if only := flagValue(c, "namespace"); only != "" {
		if len(rows) > 0 {
			nothing = fmt.Sprintf("nothing to suggest for namespace %s: what is observed is of %s", only, namespacesOf(rows))
		}
		rows = slices.DeleteFunc(rows, func(r observed.Row) bool { return r.Namespace != only && r.Namespace != "" })
		for i := range rows { // of a proxy that serves one workload, whose lines do not name it
			rows[i].Namespace = only
		}
	}
	documents, without := observed.Suggest(rows)
	printWithout(c.ErrOrStderr(), without)
	if len(documents) == 0 && len(without) == 0 {
		fmt.Fprintln(c.ErrOrStderr(), nothing)
	}
	_, err = io.WriteString(c.OutOrStdout(), strings.Join(documents, "---\n"))
	return err
}

// namespacesOf names some of the namespaces of rows.
func namespacesOf(rows []observed.Row) string {
	const shown = 5
	var all []string
	for _, r := range rows {
		all = append(all, printable(r.Namespace))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if more := len(all) - shown; more > 0 {
		all = append(all[:shown], fmt.Sprintf("%d more", more))
	}
	return strings.Join(all, ", ")
}

// printWithout says for what no ServiceEntry is suggested, some of it.
func printWithout(w io.Writer, rows []observed.Row) {
	const shown = 20
	for _, r := range rows[:min(len(rows), shown)] {
		what := r.Name
		if r.Address.IsValid() {
			what = r.Address.String()
		}
		fmt.Fprintf(w, "notice: %q, port %d, which pods of %q asked for %s: no ServiceEntry can register it\n",
			printable(what), r.Port, printable(r.Namespace), count(int(r.Count), "time"))
	}
	if more := len(rows) - shown; more > 0 {
		fmt.Fprintf(w, "notice: and %d more\n", more)
	}
}

// nothingRefused is why nothing is suggested where something was looked at.
const nothingRefused = "nothing to suggest: no pod under outboundPolicy Observe asked for what nobody registers"

// rows are what was observed, and what it means where there are none.
func (o suggestOptions) rows(c *cobra.Command) (rows []observed.Row, nothing string, err error) {
	if o.file == "" {
		rows, err = o.ask(c)
		return rows, nothingRefused, err
	}
	in := c.InOrStdin()
	if o.file != "-" {
		f, err := os.Open(o.file)
		if err != nil {
			return nil, "", unreadable(o.file, err)
		}
		defer f.Close()
		in = f
	}
	log, err := observed.ReadLog(in)
	if err != nil {
		return nil, "", unreadable(o.file, err)
	}
	if log.Other > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "passed over %s of %d: not of an access log in JSON, as the agent's own messages are not\n", count(log.Other, "line"), log.Other+log.Lines)
	}
	if log.Text > 0 && log.Lines == 0 {
		return nil, "", hinted(fmt.Errorf("%s: %s of an access log in text", o.file, count(log.Text, "line")), "give the agent --access-log-format json, which the chart does by default, or ask it without -f")
	}
	if log.Text > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "notice: %s of an access log in text among them: what they say is not below\n", count(log.Text, "line"))
	}
	if log.Lines == 0 {
		return nil, "nothing to suggest: no line is of an access log in JSON; it is on standard output of the agents' container \"agent\"", nil
	}
	return log.Rows, nothingRefused, nil
}

// ask asks the node's agent.
func (o suggestOptions) ask(c *cobra.Command) ([]observed.Row, error) {
	a, err := client.Observed(c.Context(), o.runDir)
	if err != nil {
		return nil, hinted(err, ofNode(c, "--run-dir names the directory that 'sluice agent' was given", "")+"; -f reads an access log instead")
	}
	if a.Dropped > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "notice: %s to other destinations found no room in the agent's memory: register what is below, and look again\n", count(int(a.Dropped), "request or connection"))
	}
	return a.Rows, nil
}
