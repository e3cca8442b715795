package demo

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const resolvConf = "/etc/resolv.conf"

// useResolver makes this process's mount namespace, and so every command, use
// the demo's DNS server. The file is often a link into /run, where lab.Isolate
// left nothing: then the link's target is written, it is ours alone.
func (w *world) useResolver() error {
	text := []byte("nameserver " + addrDNS.String() + "\noptions timeout:2 attempts:2\n")
	own := filepath.Join(root, "resolv.conf")
	if err := os.WriteFile(own, text, 0o644); err != nil {
		return err
	}
	_, err := os.Stat(resolvConf)
	if errors.Is(err, fs.ErrNotExist) {
		return writeLinkTarget(text)
	}
	if err != nil {
		return err
	}
	if err := unix.Mount(own, resolvConf, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("give the commands a resolver of their own: mount over %s: %w", resolvConf, err)
	}
	w.later(func() error { return unix.Unmount(resolvConf, unix.MNT_DETACH) })
	return nil
}

func writeLinkTarget(text []byte) error {
	target, err := os.Readlink(resolvConf)
	if err != nil {
		return fmt.Errorf("%s is missing, and the demo's commands look names up by it; make an empty one: %w", resolvConf, err)
	}
	if !filepath.IsAbs(target) {
		target = filepath.Join(filepath.Dir(resolvConf), target)
	}
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("make the target of the link %s: %w", resolvConf, err)
	}
	return os.WriteFile(target, text, 0o644)
}
