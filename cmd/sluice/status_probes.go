package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/agent/client"
	"github.com/sluice-cni/sluice/holder"
	holderclient "github.com/sluice-cni/sluice/holder/client"
)

// probesLong is what both have in common.
const probesLong = `
It is for a probe in the agent's own container, prints nothing but what is wrong, and may
take 6 s: of two agents that overlap at an upgrade it is about the one in it, and nobody
reaches what it asks from the network.`

func newStatusReadyCommand() *cobra.Command {
	runDir, ofHolder := "", false
	c := &cobra.Command{
		Use:   "ready",
		Short: "Exit with 0 if the agent serves the node",
		Long: `ready exits with 0 if the agent serves the node, where POD_UID is set that pod's agent.
One that stands by, or is replaced and drains, is not ready, and nor is one that lets go of
its pods. With --holder it is about the holder.
` + probesLong,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			if ofHolder {
				return holderReady(c.Context(), runDir, client.InThisContainer)
			}
			return client.Ready(c.Context(), runDir, os.Getenv("POD_UID"))
		},
	}
	socketsFlag(c, &runDir)
	c.Flags().BoolVar(&ofHolder, "holder", false, "exit with 0 if the holder in this container holds the node's pods")
	return c
}

func newStatusAliveCommand() *cobra.Command {
	runDir := ""
	c := &cobra.Command{
		Use:   "alive",
		Short: "Exit with 0 unless an agent in this container hangs",
		Long: `alive exits with 0 unless an agent in this container does not answer. One that stands by,
or is replaced and drains, is alive.
` + probesLong,
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error { return client.Alive(c.Context(), runDir) },
	}
	socketsFlag(c, &runDir)
	return c
}

// holderReady says why the holder of this container does not hold the node's pods: none
// answers, or one does whose process is not one of mine. Who made the socket says nothing,
// since each holder hands it on to the next.
func holderReady(ctx context.Context, runDir string, mine func(pid int) bool) error {
	ctx, cancel := context.WithTimeout(ctx, client.Patience)
	defer cancel()
	s, err := holderclient.Status(ctx, filepath.Join(runDir, holder.SocketName))
	if err == nil && !mine(s.PID) {
		err = fmt.Errorf("the holder of another container holds the pods: process %d", s.PID)
	}
	return err
}
