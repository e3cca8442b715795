// Package plugin is sluice's CNI plugin: chained after the plugin that makes a
// pod's network, it programs the pod's namespace so that outbound traffic goes to
// the proxy. ADD programs, CHECK compares, DEL removes. Which pods, and how, is
// said by the configuration, the node's policy and the pod's annotations alone
// (package selection); nobody is asked. All state is in the namespace. Where a
// node's agent is the proxy (agentSocket), ADD also opens the pod's sockets and
// gives them to the node's holder, before the rules go in.
package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"github.com/sluice-cni/sluice/internal/retired"
	"github.com/sluice-cni/sluice/selection"
)

// Codes of the plugin's own errors; the specification leaves those from 100 to it.
const (
	codeNotPermitted = 100 // not root, or without CAP_NET_ADMIN
	codeUnsupported  = 101 // the kernel lacks nf_tables or a part of it
	codeRules        = 102 // the rules could not be programmed or read
	codeDrift        = 103 // CHECK found other rules than the configuration's
)

// versions are those of the specification that can chain plugins.
func versions() version.PluginInfo {
	return version.PluginSupports(selection.SpecVersions()...)
}

// Main runs the verb that the environment names, as a container runtime calls it,
// and returns the exit code. about is what a person sees who runs it by hand. It
// returns before its time is up, whatever it waits for: a runtime that loses
// patience kills, and can say nothing about why.
func Main(about string) int {
	verb := os.Getenv("CNI_COMMAND")
	clock := startClock()
	done := make(chan answer, 1)
	go func() { done <- run(verb, about, clock) }()
	var a answer
	select {
	case a = <-done:
	case <-clock.up():
		// What the verb was doing ends with this process; the runtime's DEL, which
		// follows a failed ADD, removes what it may have done.
		a.failure = types.NewError(types.ErrTryAgainLater, fmt.Sprintf("%s took longer than %v", verb, clock.limit()),
			"try again; if it happens always, the machine is overloaded or the configuration's timeout too short")
	}
	return a.print(clock)
}

// answer is what goes to standard output.
type answer struct {
	cniVersion string
	result     []byte
	failure    *types.Error
	undo       func() error // when the result cannot be delivered; may be nil
}

func run(verb, about string, clock *clock) (a answer) {
	defer func() {
		if r := recover(); r != nil {
			a.failure = bug(r)
		}
	}()
	conf, err := keepStdin(verb)
	if err != nil {
		a.failure = types.NewError(types.ErrIOFailure, "cannot read the configuration from standard input", err.Error())
		return a
	}
	a.cniVersion = versionOf(conf)
	v := &verbs{log: stderr, clock: clock}
	funcs := skel.CNIFuncs{Add: v.once(v.add), Check: v.once(v.check), Del: v.once(v.del), GC: v.once(v.gc), Status: v.once(v.status)}
	if retired.Self() {
		funcs = v.retire()
	}
	a.failure = skel.PluginMainFuncsWithError(funcs, versions(), about)
	// skel has complaints of its own about the namespace, after the verb. The verb
	// has judged it already, or it does not matter: where a pod is not selected,
	// and for a DEL that a runtime would repeat for ever.
	if a.failure != nil && a.failure.Code == types.ErrInvalidNetNS && v.succeeded {
		a.failure = nil
	}
	a.result, a.undo = v.result, v.undo
	return a
}

// bug turns a panic into an error: a runtime can report that, and clean up.
func bug(panicked any) *types.Error {
	return types.NewError(types.ErrInternal, fmt.Sprintf("a bug in sluice-cni: %v; please report it", panicked), string(debug.Stack()))
}

// versionOf is the version an error answers in: the configuration's if the plugin
// speaks it, else the newest.
func versionOf(conf []byte) string {
	supported := versions().SupportedVersions()
	var c struct {
		CNIVersion string `json:"cniVersion"`
	}
	if json.Unmarshal(conf, &c) == nil {
		for _, v := range supported {
			if v == c.CNIVersion {
				return v
			}
		}
	}
	return supported[len(supported)-1]
}

// print writes the result or the error object, and nothing else, and returns the
// exit code. Nobody may be reading: that wait is bounded too.
func (a answer) print(clock *clock) int {
	clock.extend(time.Second)
	out, code := a.result, 0
	if a.failure != nil {
		out, code = a.failureObject(), 1
	}
	if len(out) == 0 {
		return code
	}
	written := make(chan error, 1)
	go func() { _, err := stdout.Write(out); written <- err }()
	var err error
	select {
	case err = <-written:
	case <-clock.up():
		err = errors.New("nobody reads it")
	}
	if err == nil {
		return code
	}
	if a.failure == nil && a.undo != nil {
		err = errors.Join(err, a.undo())
	}
	fmt.Fprintln(stderr, "sluice-cni: the result could not be written:", oneLine(err))
	return 1
}

// failureObject is the error as JSON. skel's own printing leaves cniVersion out,
// which the specification asks for.
func (a answer) failureObject() []byte {
	if a.cniVersion == "" {
		a.cniVersion = versionOf(nil)
	}
	out, err := json.MarshalIndent(struct {
		CNIVersion string `json:"cniVersion"`
		Code       uint   `json:"code"`
		Msg        string `json:"msg"`
		Details    string `json:"details,omitempty"`
	}{a.cniVersion, a.failure.Code, a.failure.Msg, a.failure.Details}, "", "    ")
	if err != nil {
		fmt.Fprintln(stderr, "sluice-cni:", errors.Join(a.failure, err))
	}
	return append(out, '\n')
}
