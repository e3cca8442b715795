package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent/client"
	"github.com/sluice-cni/sluice/holder"
	holderclient "github.com/sluice-cni/sluice/holder/client"
	"github.com/sluice-cni/sluice/holder/wire"
	"github.com/sluice-cni/sluice/internal/remedy"
)

// askHolder shows what the holder knows, since no agent answers: none says why not, and
// advice what a person should do about it.
func (o statusOptions) askHolder(c *cobra.Command, none error, advice string) error {
	path := filepath.Join(o.runDir, holder.SocketName)
	asking, cancel := context.WithTimeout(c.Context(), client.Patience)
	defer cancel()
	s, err := holderclient.Status(asking, path)
	if err != nil {
		return hinted(errors.Join(none, fmt.Errorf("%s: nor does a holder: %w", path, reason(err))),
			ofNode(c, remedy.Here().Say(remedy.Nobody), ""))
	}
	if o.output.is("json") {
		if err := writeJSON(c.OutOrStdout(), s); err != nil {
			return err
		}
	} else if err := printHolder(c.OutOrStdout(), s); err != nil {
		return err
	}
	return hinted(none, advice+"; this is what the holder knows")
}

func printHolder(w io.Writer, s wire.HolderStatus) error {
	facts(w, [2]string{"holder", fmt.Sprintf("process %d, sluice %s, holds %s", s.PID, s.Build, count(len(s.Pods), "pod"))})
	if len(s.Pods) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	rows := [][]string{{"POD", "STATE", "POLICY", "REASON"}}
	for _, p := range s.Pods {
		rows = append(rows, []string{podLabel(p.Pod, p.Netns.String()), p.State, p.Policy, cmp.Or(p.Reason, p.AgentError)})
	}
	return table(w, rows)
}
