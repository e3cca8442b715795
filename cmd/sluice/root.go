package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sluice-cni/sluice/install/cluster"
	"github.com/sluice-cni/sluice/internal/remedy"
)

// defaultConfigDir is where resources are kept unless --config or SLUICE_CONFIG
// says otherwise. A variable, so that a build can set another (-ldflags -X).
var defaultConfigDir = "/etc/sluice"

// The groups of commands in the help.
const (
	resourceGroup = "Resources, in a directory or a cluster"
	questionGroup = "Questions"
	servingGroup  = "Programs that serve"
	nodeGroup     = "A node"
	otherGroup    = "Other commands"
)

// commands are the constructors of every subcommand, as the help groups them.
var commands = []struct {
	title string
	of    []func() *cobra.Command
}{
	{resourceGroup, []func() *cobra.Command{
		newCreateCommand, newApplyCommand, newGetCommand, newDeleteCommand, newValidateCommand, newSuggestCommand, newInjectCommand,
	}},
	{questionGroup, []func() *cobra.Command{
		newStatusCommand, newExplainCommand, newRoutesCommand, newClustersCommand, newEndpointsCommand, newConnectionsCommand,
	}},
	{servingGroup, []func() *cobra.Command{
		newExecCommand, newProxyCommand, newAgentCommand, newHolderCommand,
	}},
	{nodeGroup, []func() *cobra.Command{
		newInstallCommand, newUninstallCommand, newCleanupCommand, newPolicyCommand, newRulesCommand, newCIDRCommand,
	}},
	{otherGroup, []func() *cobra.Command{
		newDemoCommand, newCompletionCommand, newVersionCommand,
	}},
}

type streams struct {
	in       io.Reader
	out, err io.Writer
}

// run executes one command line and returns the exit code: 0 fine, 1 it failed,
// 2 the command line makes no sense; a command may choose another (exitCode).
func run(ctx context.Context, args []string, std streams) int {
	return runAs(ctx, "sluice", args, std)
}

// plugin is the name of the file by which kubectl finds us.
const plugin = "kubectl-sluice"

// runAs is run for a program that was called by a name.
func runAs(ctx context.Context, name string, args []string, std streams) int {
	root := newRootCommand()
	if filepath.Base(name) == plugin {
		root.Annotations = map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl sluice"}
	}
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	return report(std.err, root.ExecuteContext(ctx), root)
}

// calledByKubectl says whether this is kubectl's plugin.
func calledByKubectl(c *cobra.Command) bool {
	return c.Root().Annotations[cobra.CommandDisplayNameAnnotation] != ""
}

// ofPlugin says whether a command is called as kubectl's plugin, where this is it: those of
// a machine are not, nor are questions to what runs on one.
func ofPlugin(c *cobra.Command) bool {
	asked := c.Flags().Lookup("kubeconfig") != nil
	for c.GroupID == "" && c.HasParent() {
		c = c.Parent()
	}
	switch c.GroupID {
	case servingGroup, nodeGroup:
		return false
	case questionGroup:
		return asked
	}
	return true
}

// commandNames finds a command of ours in a text.
var commandNames = regexp.MustCompile(`(^|[^\w/.-])(kubectl )?sluice((?: [a-z]+){1,2}|$)`)

// asCalled is a text in which commands are called as this one was, where they can be.
func asCalled(c *cobra.Command, text string) string {
	if !calledByKubectl(c) {
		return text
	}
	return commandNames.ReplaceAllStringFunc(text, func(found string) string {
		before, name, _ := strings.Cut(found, "sluice")
		if strings.HasSuffix(before, "kubectl ") {
			return found
		}
		if sub, _, err := c.Root().Find(strings.Fields(name)); err != nil || sub == c.Root() || !ofPlugin(sub) {
			return found
		}
		return before + "kubectl sluice" + name
	})
}

// anyAgent is where somebody with kubectl asks what runs on a node.
var anyAgent = remedy.Place{Namespace: cluster.Namespace, Pod: "ds/sluice-agent"}

// ofNode is the hint of a command that asks what runs on its node, and found nobody there:
// kubectl's plugin mostly runs on none. flags are what it needs in the agent's pod.
func ofNode(c *cobra.Command, hint, flags string) string {
	if !calledByKubectl(c) {
		return hint
	}
	words := strings.TrimPrefix(c.CommandPath(), c.Root().CommandPath()+" ") + flags
	return "nodes are asked in their agents' pods, with the same flags: " + anyAgent.Sluice(words)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "sluice COMMAND",
		Short: "Govern the traffic that leaves a workload",
		Long: `sluice governs the traffic that leaves a workload, by Istio's own egress API:
ServiceEntry, VirtualService, DestinationRule and Sidecar, kept as YAML files in
a directory (--config) or in a Kubernetes cluster (--kubeconfig, or as 'kubectl sluice'),
and written there by create, apply and delete.`,
		Example: `  sluice exec --config ./egress -- curl -sSi http://example.com/
  kubectl sluice apply -n shop -f egress.yaml
  kubectl -n sluice-system exec ds/sluice-agent -- /sluice status --all`,
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:                       noSuchCommand,
		RunE: func(c *cobra.Command, _ []string) error {
			if flagValue(c, "version") == "true" {
				printVersion(c)
				return nil
			}
			return c.Help()
		},
	}
	root.Flags().Bool("version", false, "print the version")
	root.PersistentFlags().String("config", "", "directory `DIR` of resources (default $SLUICE_CONFIG, else \""+defaultConfigDir+"\")")
	root.SetGlobalNormalizationFunc(kebabFlags)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(printHelp)
	root.SetUsageFunc(printUsage)
	for _, group := range commands {
		root.AddGroup(&cobra.Group{ID: group.title, Title: group.title})
		for _, construct := range group.of {
			c := construct()
			c.GroupID = group.title
			root.AddCommand(c)
		}
	}
	help := newHelpCommand()
	help.GroupID = commands[len(commands)-1].title
	root.SetHelpCommand(help)
	return root
}

func noSuchCommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := "'" + c.CommandPath() + " --help' lists the commands"
	switch near := c.SuggestionsFor(args[0]); {
	case len(near) > 0:
		hint = "did you mean '" + c.CommandPath() + " " + near[0] + "'?"
	case !c.HasAvailableSubCommands():
		hint = "'" + c.CommandPath() + "' has no commands of its own"
	}
	return usage(fmt.Errorf("command %q: there is none of that name", args[0]), hint)
}

// configDir is the directory that --config, the environment or the default names.
func configDir(c *cobra.Command) string {
	return cmp.Or(flagValue(c, "config"), os.Getenv("SLUICE_CONFIG"), defaultConfigDir)
}

// namespace is what --namespace says, "default" without it.
func namespace(c *cobra.Command) string { return cmp.Or(flagValue(c, "namespace"), "default") }
