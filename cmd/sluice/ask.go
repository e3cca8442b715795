package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/proxy/admin"
)

// question is a command that asks a running proxy for a list.
type question[T any] struct {
	name, short, long, example string
	path                       string
	header                     string
	row                        func(T) []string
}

func (l question[T]) command() *cobra.Command {
	var port uint16
	var limit int
	var output string
	c := &cobra.Command{
		Use:     l.name + " [HOST] [flags]",
		Short:   l.short,
		Long:    l.long,
		Example: l.example,
	}
	askAdminFlag(c)
	f := c.Flags()
	f.Uint16Var(&port, "port", 0, "only those of this `PORT` (default all)")
	f.IntVar(&limit, "limit", admin.DefaultLimit, fmt.Sprintf("how many at most, up to %d", admin.MaxLimit))
	f.StringVarP(&output, "output", "o", "table", "`FORMAT`: table or json")
	c.RunE = func(c *cobra.Command, args []string) error {
		var errs []error
		if len(args) > 1 {
			errs = append(errs, fmt.Errorf("argument %q: one HOST is enough", args[1]))
		}
		if limit < 1 || limit > admin.MaxLimit {
			errs = append(errs, fmt.Errorf("--limit %d: not a number of items; use 1 to %d", limit, admin.MaxLimit))
		}
		if output != "table" && output != "json" {
			errs = append(errs, fmt.Errorf("output %q: not known; use table or json", output))
		}
		if err := errors.Join(errs...); err != nil {
			return usage(err, "see '"+c.CommandPath()+" --help'")
		}
		q := admin.Question{Port: port, Limit: limit}
		if len(args) == 1 {
			q.Host = strings.TrimSuffix(strings.ToLower(args[0]), ".")
		}
		return l.run(c, q, output)
	}
	return c
}

func (l question[T]) run(c *cobra.Command, q admin.Question, output string) error {
	client, err := adminClient(c)
	if err != nil {
		return err
	}
	var answer admin.List[T]
	if err := client.Ask(c.Context(), l.path, q, &answer); err != nil {
		return hinted(err, askHint(client))
	}
	if output == "json" {
		return writeJSON(c.OutOrStdout(), answer)
	}
	if len(answer.Items) == 0 && answer.More == 0 {
		fmt.Fprintf(c.ErrOrStderr(), "no %s found\n", l.name)
		return nil
	}
	w := tabwriter.NewWriter(c.OutOrStdout(), 0, 8, 3, ' ', 0)
	fmt.Fprintln(w, l.header)
	for _, item := range answer.Items {
		cells := l.row(item)
		for i := range cells {
			if cells[i] = printable(cells[i]); cells[i] == "" {
				cells[i] = "-"
			}
		}
		fmt.Fprintln(w, strings.Join(cells, "\t"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if answer.More > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "and %d more; HOST and --port narrow the list, --limit makes it longer\n", answer.More)
	}
	return nil
}
