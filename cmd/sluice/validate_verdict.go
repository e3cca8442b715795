package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/mesh"
)

// verdict is what validate says of all that it checked.
type verdict struct {
	Valid     bool        `json:"valid"`
	Strict    bool        `json:"strict"` // warnings are counted as errors are
	Resources int         `json:"resources"`
	Errors    int         `json:"errors"`
	Warnings  int         `json:"warnings"`
	Notices   int         `json:"notices"`
	Issues    mesh.Issues `json:"issues"`
}

func newVerdict(issues mesh.Issues, checked int, strict bool) verdict {
	v := verdict{Strict: strict, Resources: checked, Issues: issues,
		Errors: len(issues.Of(mesh.Error)), Warnings: len(issues.Of(mesh.Warning)), Notices: len(issues.Of(mesh.Notice))}
	v.Valid = v.Errors == 0 && !(strict && v.Warnings > 0)
	return v
}

// print says it to a person.
func (v verdict) print(c *cobra.Command) error {
	for _, i := range v.Issues {
		fmt.Fprintln(c.OutOrStdout(), i)
	}
	warnings, notices := count(v.Warnings, "warning"), count(v.Notices, "notice")
	if !v.Valid {
		strict := ""
		if v.Errors == 0 {
			strict = " (--strict)"
		}
		return fmt.Errorf("not valid%s: %s, %s, %s", strict, count(v.Errors, "error"), warnings, notices)
	}
	fmt.Fprintf(c.OutOrStdout(), "valid: %s, %s, %s\n", count(v.Resources, "resource"), warnings, notices)
	if v.Resources == 0 {
		fmt.Fprintln(c.ErrOrStderr(), "hint: no resource was found; of a directory *.yaml, *.yml and *.json are read, hidden files are not")
	}
	return nil
}
