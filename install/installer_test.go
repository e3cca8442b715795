package install

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/containernetworking/cni/libcni"
	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/internal/lab/labtest"
)

// conflist is a primary's list as people have them.
const conflist = `{
  "cniVersion": "0.3.1",
  "name": "podnet",
  "plugins": [
    {
      "type": "ptp",
      "ipam": {"type": "host-local"}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

// shim and thin are Multus' single plugins, with a daemon and without one.
const (
	shim = `{"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus-shim", "clusterNetwork": "/host/etc/cni/net.d/10-a.conflist"}`
	thin = `{"cniVersion": "1.0.0", "name": "multus-cni-network", "type": "multus", "delegates": [` + conflist + `]}`
)

// containerd answers as one of that version that has loaded what its directory
// holds, by libcni, which containerd uses.
type containerd struct {
	dir, version string
	deaf         bool
}

func (c containerd) Version(context.Context) (string, string, error) {
	if c.version == "" {
		return "", "", errors.New("connection refused")
	}
	return "containerd", c.version, nil
}

func (c containerd) NetworkConfig(context.Context) ([]byte, error) {
	if c.deaf {
		return []byte(`{}`), nil
	}
	used, err := used(c.dir)
	if err != nil {
		return nil, err
	}
	return json.Marshal(used)
}

// used are the types of the plugins that a runtime would run.
func used(dir string) ([]string, error) {
	files, err := libcni.ConfFiles(dir, []string{".conf", ".conflist", ".json"})
	if err != nil {
		return nil, err
	}
	slices.Sort(files)
	for _, file := range files {
		l, err := libcni.ConfListFromFile(file)
		if filepath.Ext(file) != ".conflist" {
			var single *libcni.PluginConfig
			//lint:ignore SA1019 runtimes read such files by it
			if single, err = libcni.ConfFromFile(file); err == nil {
				//lint:ignore SA1019 so do they make a list of it
				l, err = libcni.ConfListFromConf(single)
			}
		}
		if err != nil {
			return nil, err
		}
		var types []string
		for _, p := range l.Plugins {
			types = append(types, p.Network.Type)
		}
		if len(types) > 0 {
			return append(types, l.Name, l.CNIVersion), nil
		}
	}
	return nil, errors.New("no network configuration")
}

func confDir(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		write(t, filepath.Join(dir, name), text)
	}
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func installer(t *testing.T, o Options) *Installer {
	t.Helper()
	o.Entry = json.RawMessage(entry)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	i, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// listing is every file with its content.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all[name] = string(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheRuntimeUsesTheEntryLastAndOnceAndAllElseAsItWas(t *testing.T) {
	t.Parallel()
	single := `{"cniVersion": "1.0.0", "name": "podnet", "type": "bridge", "bridge": "cni0"}`
	inlined := strings.Replace(conflist, `"name"`, `"loadOnlyInlinedPlugins": true, "name"`, 1)
	for name, test := range map[string]struct {
		files   map[string]string
		mode    Mode
		version string
		want    []string // the runtime's plugins, name and version
		changed []string // files
	}{
		"containerd 2.1":      {map[string]string{"10-a.conflist": conflist}, Auto, "v2.1.0", []string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"podnet/50-sluice.conf"}},
		"containerd 1.7":      {map[string]string{"10-a.conflist": conflist}, Auto, "v1.7.27", []string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"10-a.conflist"}},
		"containerd 2.0":      {map[string]string{"10-a.conflist": conflist}, Auto, "2.0.5", []string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"10-a.conflist"}},
		"unknown runtime":     {map[string]string{"10-a.conflist": conflist}, Auto, "", []string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"10-a.conflist"}},
		"no drop-ins allowed": {map[string]string{"10-a.conflist": inlined}, Auto, "v2.1.0", []string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"10-a.conflist"}},
		"a single plugin":     {map[string]string{"10-a.conf": single}, Auto, "v2.1.0", []string{"bridge", "sluice-cni", "podnet", "1.0.0"}, []string{"00-multus-sluice.conflist"}},
		"versions to choose":  {map[string]string{"10-a.conflist": strings.Replace(conflist, `"name"`, `"cniVersions": ["0.2.0", "1.1.0"], "name"`, 1)}, Append, "", []string{"ptp", "portmap", "sluice-cni", "podnet", "1.1.0"}, []string{"10-a.conflist"}},
		"Multus":              {map[string]string{"00-multus.conf": shim, "10-a.conflist": conflist}, Auto, "v2.1.0", []string{"multus-shim", "sluice-cni", "multus-cni-network", "1.0.0"}, []string{"00-multus-sluice.conflist"}},
		"Multus' own folder":  {map[string]string{"00-multus.conf": thin}, Auto, "v2.1.0", []string{"multus", "sluice-cni", "multus-cni-network", "1.0.0"}, []string{"00-multus-sluice.conflist"}},
		"a list of our own":   {map[string]string{"10-a.conflist": conflist}, Own, "v2.1.0", []string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"00-multus-sluice.conflist"}},
		"the first file only": {map[string]string{"10-a.conflist": conflist, "20-b.conflist": single}, Append, "v2.1.0", []string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"10-a.conflist"}},
		"other drop-ins": {map[string]string{"10-a.conflist": conflist, "podnet/10-x.conf": `{"type":"tuning"}`}, DropIn, "v2.1.0",
			[]string{"ptp", "portmap", "tuning", "sluice-cni", "podnet", "0.3.1"}, []string{"podnet/50-sluice.conf"}},
		"nothing but drop-ins": {map[string]string{"10-a.conflist": `{"cniVersion":"1.0.0","name":"podnet"}`, "podnet/10-x.conf": `{"type":"ptp"}`}, Auto, "v2.3.1",
			[]string{"ptp", "sluice-cni", "podnet", "1.0.0"}, []string{"podnet/50-sluice.conf"}},
		"appended before an upgrade": {map[string]string{"10-a.conflist": strings.Replace(conflist, "true}}", `true}}, {"type":"sluice-cni"}`, 1)}, Auto, "v2.1.0",
			[]string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"10-a.conflist", "podnet/50-sluice.conf"}},
		"the network was renamed": {map[string]string{"10-a.conflist": conflist, "old/50-sluice.conf": entry}, Auto, "v2.1.0",
			[]string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"old/50-sluice.conf", "podnet/50-sluice.conf"}},
		"after a mode of our own": {map[string]string{"10-a.conflist": conflist, "00-multus-sluice.conflist": strings.Replace(conflist, "true}}", `true}}, {"type":"sluice-cni"}`, 1)}, Append, "v2.1.0",
			[]string{"ptp", "portmap", "sluice-cni", "podnet", "0.3.1"}, []string{"00-multus-sluice.conflist", "10-a.conflist"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := confDir(t, test.files)
			before := listing(t, dir)
			i := installer(t, Options{ConfDir: dir, Mode: test.mode, Runtime: containerd{dir: dir, version: test.version}})
			steps, why, err := i.Plan(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := i.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err := used(dir)
			if err != nil || !slices.Equal(got, test.want) {
				t.Errorf("%s: the runtime uses %q, %v; want %q", why, got, err, test.want)
			}
			after := listing(t, dir)
			var changed, planned []string
			for name := range union(before, after) {
				if before[name] != after[name] {
					changed = append(changed, name)
				}
			}
			for _, s := range steps {
				planned = append(planned, s.Path)
			}
			slices.Sort(changed)
			slices.Sort(planned)
			if !slices.Equal(changed, test.changed) || !slices.Equal(planned, test.changed) {
				t.Errorf("changed %q, planned %q, want %q", changed, planned, test.changed)
			}
			if steps, err := i.Ensure(t.Context()); len(steps) > 0 || err != nil {
				t.Errorf("a second time: %v, %v", steps, err)
			}
			if _, err := i.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			got, err = used(dir)
			if err != nil || slices.Contains(got, "sluice-cni") {
				t.Errorf("after Remove the runtime uses %q, %v", got, err)
			}
			for name, text := range listing(t, dir) {
				if original, there := before[name]; !there || original != text && !strings.Contains(original, "sluice-cni") {
					t.Errorf("after Remove: %s is %q, was %q", name, text, original)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "podnet")); err == nil && !hasFolder(before) {
				t.Error("after Remove: the folder of the network is left")
			}
		})
	}
}

func union(a, b map[string]string) map[string]bool {
	all := map[string]bool{}
	for name := range a {
		all[name] = true
	}
	for name := range b {
		all[name] = true
	}
	return all
}

func hasFolder(files map[string]string) bool {
	for name := range files {
		if strings.HasPrefix(name, "podnet/") && name != "podnet/50-sluice.conf" {
			return true
		}
	}
	return false
}

func TestWhatCannotBeInstalledIsSaid(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		files map[string]string
		mode  Mode
		want  string
	}{
		"nothing there":        {nil, Auto, "holds no network configuration; install the cluster's network"},
		"broken":               {map[string]string{"10-a.conflist": "{"}, Auto, `file "10-a.conflist": line 1: unexpected EOF`},
		"empty":                {map[string]string{"10-a.conflist": `{"name":"n","plugins":[]}`}, Auto, `file "10-a.conflist": has no plugins`},
		"only ours":            {map[string]string{"10-a.conflist": `{"name":"n","plugins":[{"type":"sluice-cni"}]}`}, Auto, `file "10-a.conflist": has no plugins`},
		"too old to chain":     {map[string]string{"10-a.conf": `{"cniVersion":"0.2.0","name":"n","type":"ptp"}`}, Auto, `file "10-a.conf": field "cniVersion": value "0.2.0": a plugin cannot be added`},
		"no version":           {map[string]string{"10-a.conflist": `{"name":"n","plugins":[{"type":"ptp"}]}`}, Auto, `field "cniVersion": value ""`},
		"single and append":    {map[string]string{"a.conf": `{"cniVersion":"1.0.0","name":"n","type":"ptp"}`}, Append, "use --mode own or auto"},
		"single and drop-in":   {map[string]string{"a.conf": `{"cniVersion":"1.0.0","name":"n","type":"ptp"}`}, DropIn, "use --mode auto"},
		"Multus would take it": {map[string]string{"00-multus.conf": thin, "10-a.conflist": conflist}, Auto, `file "00-multus.conf": when Multus starts anew it would delegate to a list of our own`},
		"own would come later": {map[string]string{"00-00-a.conf": `{"cniVersion":"1.0.0","name":"n","type":"ptp"}`}, Auto, "rename it, or use --mode append"},
	} {
		dir := confDir(t, test.files)
		before := listing(t, dir)
		_, err := installer(t, Options{ConfDir: dir, Mode: test.mode}).Ensure(t.Context())
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v does not say %q", name, err, test.want)
		}
		if after := listing(t, dir); len(after) != len(before) {
			t.Errorf("%s: changed to %q", name, after)
		}
	}
}

// Multus' daemon takes the first configuration whose name does not begin with 00-multus for
// the one to delegate to, each time that it starts.
func TestMultusDelegatesToNoListOfOurs(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"00-multus.conf": shim, "10-a.conf": `{"cniVersion": "1.0.0", "name": "podnet", "type": "bridge"}`} {
		dir := confDir(t, map[string]string{name: first, "10-b.conflist": conflist})
		if _, err := installer(t, Options{ConfDir: dir}).Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		files := listing(t, dir)
		if files[ownName] == "" {
			t.Fatalf("%s: no list of our own: %q", name, files)
		}
		maps.DeleteFunc(files, func(name, _ string) bool { return strings.HasPrefix(name, "00-multus") })
		if to := slices.Min(slices.Collect(maps.Keys(files))); strings.Contains(files[to], pluginType) {
			t.Errorf("%s: Multus would delegate to %s", name, to)
		}
	}
}

// A list of our own must not give pods a network that the primary took away.
func TestAListOfOurOwnGoesWithItsPrimary(t *testing.T) {
	t.Parallel()
	dir := confDir(t, map[string]string{"10-a.conflist": conflist})
	i := installer(t, Options{ConfDir: dir, Mode: Own})
	if _, err := i.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "10-a.conflist")); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Ensure(t.Context()); !errors.Is(err, errNoNetwork) {
		t.Error(err)
	}
	if left := listing(t, dir); len(left) > 0 {
		t.Errorf("left: %q", left)
	}
}

func TestModeOwnerAndLinksAreKept(t *testing.T) {
	t.Parallel()
	real := confDir(t, map[string]string{"list": conflist})
	dir := confDir(t, map[string]string{"20-b.conflist": conflist})
	link := filepath.Join(dir, "10-a.conflist")
	target := filepath.Join(real, "list")
	for _, err := range []error{os.Symlink(target, link), os.Chmod(target, 0o640), os.Chown(target, 1234, 4321)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := installer(t, Options{ConfDir: dir, Mode: Append}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link became %v, %v", info, err)
	}
	info, err := os.Stat(target)
	if err != nil || info.Mode().Perm() != 0o640 || !strings.Contains(listing(t, real)["list"], "sluice-cni") {
		t.Errorf("the file is %v, %v", info, err)
	}
}

// A runtime that reads another directory is said, and not only once.
func TestARuntimeThatDoesNotLoadTheEntryIsAnError(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := confDir(t, map[string]string{"10-a.conflist": conflist})
		i := installer(t, Options{ConfDir: dir, Runtime: containerd{dir: dir, version: "v2.1.0", deaf: true}})
		for range 2 {
			if _, err := i.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "--conf-dir") {
				t.Fatal(err)
			}
		}
	})
}

// A primary that writes its file while ours is being made loses nothing of it.
func TestWhatOthersWriteMeanwhileIsKept(t *testing.T) {
	t.Parallel()
	dir := confDir(t, map[string]string{"10-a.conflist": conflist})
	i := installer(t, Options{ConfDir: dir, Mode: Append})
	newer := strings.Replace(conflist, "portmap", "bandwidth", 1)
	looks := 0
	steps, err := i.change(func() ([]Step, error) {
		steps, _, err := i.plan(t.Context())
		if looks++; looks == 1 {
			write(t, filepath.Join(dir, "10-a.conflist"), newer)
		}
		return steps, err
	})
	got := listing(t, dir)["10-a.conflist"]
	if err != nil || looks != 2 || len(steps) != 1 || !strings.Contains(got, "bandwidth") || !strings.Contains(got, "sluice-cni") {
		t.Errorf("%d looks, %v, %v: %s", looks, steps, err, got)
	}
	_, err = i.change(func() ([]Step, error) { // it never ends
		steps, err := i.Leaving()
		newer += " "
		write(t, filepath.Join(dir, "10-a.conflist"), newer)
		return steps, err
	})
	if got := listing(t, dir); err != nil && !errors.Is(err, errChanged) || got["10-a.conflist"] != newer || len(got) != 1 {
		t.Errorf("%v: %q", err, got)
	}
}

// A runtime that missed the change is shown another, but a file that is a link stays one.
func TestWaitingForTheRuntimeWritesNoFileOfOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		target := filepath.Join(confDir(t, map[string]string{"list": conflist}), "list")
		dir := t.TempDir()
		link := filepath.Join(dir, "10-a.conflist")
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		i := installer(t, Options{ConfDir: dir, Mode: DropIn, Runtime: containerd{dir: dir, version: "v2.1.0", deaf: true}})
		if _, err := i.Ensure(t.Context()); err == nil {
			t.Error("a deaf runtime loaded it")
		}
		if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("the link became %v, %v", info, err)
		}
	})
}

func TestLabelsOfAFileAreKept(t *testing.T) {
	t.Parallel()
	dir := confDir(t, map[string]string{"10-a.conflist": conflist})
	file := filepath.Join(dir, "10-a.conflist")
	if err := unix.Setxattr(file, "trusted.label", []byte("cni_conf_t"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := installer(t, Options{ConfDir: dir, Mode: Append}).Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 64)
	if n, err := unix.Getxattr(file, "trusted.label", value); err != nil || string(value[:n]) != "cni_conf_t" {
		t.Errorf("label %q, %v", value[:max(n, 0)], err)
	}
}

// A file of another user's keeps its access list, and it takes no right over all users'
// files (CAP_FOWNER) to write it.
func TestAnAccessListIsKept(t *testing.T) {
	t.Parallel()
	dir := confDir(t, map[string]string{"10-a.conflist": conflist})
	file := filepath.Join(dir, "10-a.conflist")
	// acl(5) as linux/posix_acl_xattr.h has it: the user 1001 may read it too.
	list := []byte{2, 0, 0, 0}
	for _, e := range []struct {
		tag, may uint16
		id       uint32
	}{{0x01, 6, 1<<32 - 1}, {0x02, 4, 1001}, {0x04, 0, 1<<32 - 1}, {0x10, 4, 1<<32 - 1}, {0x20, 0, 1<<32 - 1}} {
		list = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(list, e.tag), e.may), e.id)
	}
	const name = "system.posix_acl_access"
	if err := errors.Join(unix.Setxattr(file, name, list, 0), os.Chown(file, 1000, 1000)); err != nil {
		t.Fatal(err)
	}
	i := installer(t, Options{ConfDir: dir, Mode: Append})
	if err := labtest.Without(unix.CAP_FOWNER, func() error {
		_, err := i.Ensure(t.Context())
		return err
	}); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 1024)
	n, err := unix.Getxattr(file, name, got)
	info, failed := os.Stat(file)
	if err != nil || failed != nil || !bytes.Equal(got[:n], list) || info.Sys().(*syscall.Stat_t).Uid != 1000 {
		t.Errorf("access list %x, %v, %v; want %x, and the owner's", got[:max(n, 0)], err, failed, list)
	}
}

// backAgain is a runtime beside which another installer watches.
type backAgain struct{ containerd }

func (b backAgain) NetworkConfig(ctx context.Context) ([]byte, error) {
	if err := putBack(b.dir); err != nil {
		return nil, err
	}
	return b.containerd.NetworkConfig(ctx)
}

func putBack(dir string) error {
	file := filepath.Join(dir, "podnet", dropInName)
	return errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(entry), 0o600))
}

func TestAnEntryThatComesBackIsSaid(t *testing.T) {
	t.Parallel()
	for name, runtime := range map[string]func(dir string) Runtime{
		"beside a runtime": func(dir string) Runtime { return backAgain{containerd{dir: dir, version: "v2.1.0"}} },
		"where none can be asked": func(dir string) Runtime {
			time.AfterFunc(100*time.Millisecond, func() { putBack(dir) })
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				dir := confDir(t, map[string]string{"10-a.conflist": conflist, "podnet/50-sluice.conf": entry})
				i := installer(t, Options{ConfDir: dir, Runtime: runtime(dir)})
				if _, err := i.Remove(t.Context()); err == nil || !strings.Contains(err.Error(), "podnet/50-sluice.conf; stop") {
					t.Error(err)
				}
			})
		})
	}
}

// Where the network was taken down first, what else an uninstall does is not held up; but
// a conf dir of another name is no reason to call it done while the runtime uses ours.
func TestAConfDirThatIsGoneHasNoEntry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := filepath.Join(t.TempDir(), "net.d")
		options := Options{ConfDir: gone, Entry: json.RawMessage(`{"type":"sluice-cni"}`), Log: slog.New(slog.DiscardHandler)}
		if _, err := New(options); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("installing into it: %v", err)
		}
		i, err := Leaver(options)
		if err != nil {
			t.Fatal(err)
		}
		if steps, err := i.Remove(t.Context()); err != nil || len(steps) > 0 {
			t.Errorf("%v, %v", steps, err)
		}
		elsewhere := t.TempDir()
		if err := os.WriteFile(filepath.Join(elsewhere, "10-podnet.conflist"), []byte(`{"cniVersion":"1.0.0","name":"podnet","plugins":[{"type":"ptp"},{"type":"sluice-cni"}]}`), 0o644); err != nil {
			t.Fatal(err)
		}
		options.Runtime = containerd{dir: elsewhere, version: "v1.6.20"}
		if i, err = Leaver(options); err != nil {
			t.Fatal(err)
		}
		if _, err := i.Remove(t.Context()); err == nil || !strings.Contains(err.Error(), "is not there, and the runtime still uses the entry") {
			t.Error(err)
		}
	})
}
