// Package plugin is sluice's CNI plugin: chained after the plugin that makes a
// pod's network, it programs the pod's namespace so that outbound traffic goes to
// the proxy. ADD programs, CHECK compares, DEL removes. All state is in the
// namespace; nothing is kept on the host, so GC has nothing to collect.
package plugin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"
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
	return version.PluginSupports("0.3.1", "0.4.0", "1.0.0", "1.1.0")
}

// Main runs the verb that the environment names, as a container runtime calls it,
// and returns the exit code. about is what a person sees who runs it by hand.
func Main(about string) int {
	conf, err := keepStdin()
	if err != nil {
		return fail("", types.NewError(types.ErrIOFailure, "cannot read the configuration from standard input", err.Error()))
	}
	v := verbs{log: os.Stderr, out: os.Stdout}
	failure := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    guarded(v.add),
		Check:  guarded(v.check),
		Del:    guarded(v.del),
		GC:     guarded(v.gc),
		Status: guarded(v.status),
	}, versions(), about)
	// skel complains after a DEL whose namespace is the plugin's own. The DEL has
	// left it alone, and a runtime would repeat one that failed for ever.
	if failure != nil && failure.Code == types.ErrInvalidNetNS && os.Getenv("CNI_COMMAND") == "DEL" {
		return 0
	}
	if failure != nil {
		return fail(versionOf(conf), failure)
	}
	return 0
}

// keepStdin reads the configuration and puts a copy of it in standard input's
// place for skel: an error object must carry the configuration's version, even
// when skel finds the error.
func keepStdin() ([]byte, error) {
	switch os.Getenv("CNI_COMMAND") {
	case "", "VERSION":
		return nil, nil // nothing is read, least of all from a terminal
	}
	conf, err := io.ReadAll(os.Stdin)
	if err != nil {
		return nil, err
	}
	fd, err := unix.MemfdCreate("cni-conf", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("copy it: %w", err)
	}
	f := os.NewFile(uintptr(fd), "cni-conf")
	if _, err := f.Write(conf); err != nil {
		return nil, fmt.Errorf("copy it: %w", err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("copy it: %w", err)
	}
	os.Stdin = f
	return conf, nil
}

// guarded turns a panic into an error: a runtime can report that, and clean up.
func guarded(verb func(*skel.CmdArgs) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) (err error) {
		defer func() {
			if r := recover(); r != nil {
				err = types.NewError(types.ErrInternal, fmt.Sprintf("a bug in sluice-cni: %v; please report it", r), string(debug.Stack()))
			}
		}()
		return verb(args)
	}
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

// fail prints the error object. skel's own printing leaves cniVersion out, which
// the specification asks for.
func fail(cniVersion string, e *types.Error) int {
	if cniVersion == "" {
		cniVersion = versionOf(nil)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "    ")
	err := out.Encode(struct {
		CNIVersion string `json:"cniVersion"`
		Code       uint   `json:"code"`
		Msg        string `json:"msg"`
		Details    string `json:"details,omitempty"`
	}{cniVersion, e.Code, e.Msg, e.Details})
	if err != nil {
		fmt.Fprintln(os.Stderr, "sluice-cni:", errors.Join(e, err))
	}
	return 1
}
