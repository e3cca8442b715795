package iptables

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"github.com/sluice-cni/sluice/rules"
)

// Variant is which kernel interface the programs write.
type Variant string

const (
	// NFT writes nf_tables.
	NFT Variant = "nft"
	// Legacy writes ip_tables.
	Legacy Variant = "legacy"
)

// Firewall is one variant's programs. Its methods may be called at the same time.
type Firewall struct {
	variant  Variant
	version  string
	programs map[family]programs
	host     host
}

// programs are one family's, by path.
type programs struct{ tool, save, restore string }

// Variant is the variant that was found.
func (f *Firewall) Variant() Variant { return f.variant }

// String names the programs, as "iptables 1.8.9 (nft), /usr/sbin/iptables-nft".
func (f *Firewall) String() string {
	return fmt.Sprintf("iptables %s (%s), %s", f.version, f.variant, f.programs[ipv4].tool)
}

// Find looks for the programs of a variant, for both families. They go by the
// variant's name (iptables-nft), or are the host's plain iptables when that is of
// the variant. See UseProgramsOf for whose they are; where that one's cannot be used, this
// process's own are looked for.
func Find(v Variant) (*Firewall, error) {
	h := currentHost()
	f, err := findAt(h, v)
	if err == nil || h.mounts == nil {
		return f, err
	}
	f, own := findAt(host{}, v)
	if own != nil {
		return nil, errors.Join(err, own)
	}
	return f, nil
}

func findAt(h host, v Variant) (*Firewall, error) {
	f := &Firewall{variant: v, programs: map[family]programs{}, host: h}
	err := h.there(f.find)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// find looks where the calling thread is.
func (f *Firewall) find() (err error) {
	for _, fam := range []family{ipv4, ipv6} {
		if f.programs[fam], err = findFamily(f.variant, fam); err != nil {
			return err
		}
	}
	f.version, err = versionOf(f.programs[ipv4].tool)
	return err
}

func findFamily(v Variant, fam family) (programs, error) {
	named := fam.program + "-" + string(v)
	if p, err := locate(named); err == nil {
		return p, nil
	}
	plain, err := locate(fam.program)
	if err != nil {
		return programs{}, unusable("%s and %s with their -save and -restore are not installed; install the package iptables", named, fam.program)
	}
	if is := variantOf(plain.tool); is != v {
		return programs{}, unusable("%s is not installed, and %s is the %s variant", named, plain.tool, is)
	}
	return plain, nil
}

func locate(name string) (p programs, err error) {
	for suffix, path := range map[string]*string{"": &p.tool, "-save": &p.save, "-restore": &p.restore} {
		if *path, err = lookPath(name + suffix); err != nil {
			return programs{}, err
		}
	}
	return p, nil
}

// lookPath also knows the usual folders: container runtimes do not always have those for
// administrators in PATH, and a container's PATH is not the node's.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, folder := range []string{"/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"} {
		if err == nil {
			return filepath.Abs(path)
		}
		path, err = exec.LookPath(filepath.Join(folder, name))
	}
	return path, err
}

// variantOf asks a program. Those before 1.8 do not say, and are legacy.
func variantOf(tool string) Variant {
	out, err := exec.Command(tool, "--version").Output()
	if err == nil && strings.Contains(string(out), "nf_tables") {
		return NFT
	}
	return Legacy
}

// versionOf is the programs' version. A restore that can wait for the lock came
// with 1.6.2.
func versionOf(tool string) (string, error) {
	t, err := iptables.New(iptables.Path(tool))
	if err != nil {
		return "", unusable("%s cannot be used: %w", tool, err)
	}
	major, minor, patch := t.GetIptablesVersion()
	version := fmt.Sprintf("%d.%d.%d", major, minor, patch)
	if major*10000+minor*100+patch < 10602 {
		return version, unusable("%s is version %s; 1.6.2 is the first whose restore waits for others", tool, version)
	}
	return version, nil
}

// unusable is a rules.ErrUnsupported that is not about the kernel.
func unusable(format string, args ...any) error {
	return &programsError{fmt.Errorf(format, args...)}
}

type programsError struct{ error }

func (e *programsError) Is(target error) bool { return target == rules.ErrUnsupported }
func (e *programsError) Unwrap() error        { return e.error }
