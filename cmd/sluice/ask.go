package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/proxy/admin"
)

// question is a command that asks a running proxy for a list.
type question[T any] struct {
	name, short, long, example string
	path                       string
	header                     []string
	row                        func(T) []string
}

func (l question[T]) command() *cobra.Command {
	var port uint16
	var limit int
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
	output := formatFlag(c, "table", "json")
	c.RunE = func(c *cobra.Command, args []string) error {
		var errs []error
		if len(args) > 1 {
			errs = append(errs, fmt.Errorf("argument %q: one HOST is enough", args[1]))
		}
		if limit < 1 || limit > admin.MaxLimit {
			errs = append(errs, fmt.Errorf("--limit %d: not a number of items; use 1 to %d", limit, admin.MaxLimit))
		}
		if err := errors.Join(append(errs, output.check())...); err != nil {
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

func (l question[T]) run(c *cobra.Command, q admin.Question, output format) error {
	client, err := adminClient(c)
	if err != nil {
		return err
	}
	var answer admin.List[T]
	if err := client.Ask(c.Context(), l.path, q, &answer); err != nil {
		return hinted(err, askHint(c, client))
	}
	if output.is("json") {
		return writeJSON(c.OutOrStdout(), answer)
	}
	if len(answer.Items) == 0 && answer.More == 0 {
		fmt.Fprintf(c.ErrOrStderr(), "no %s found\n", l.name)
		return nil
	}
	rows := [][]string{l.header}
	for _, item := range answer.Items {
		rows = append(rows, l.row(item))
	}
	if err := table(c.OutOrStdout(), rows); err != nil {
		return err
	}
	if answer.More > 0 {
		fmt.Fprintf(c.ErrOrStderr(), "and %d more; HOST and --port narrow the list, --limit makes it longer\n", answer.More)
	}
	return nil
}
