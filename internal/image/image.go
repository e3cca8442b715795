// Package image writes container images without pulling or building anything: files
// become layers, and an archive in docker's format ("docker save") goes to
// `ctr images import`, `docker load`, `podman load` or `kind load image-archive`.
//
// The same content makes the same bytes: nothing has a time, an owner but root, or an
// order of its own. Docker's format is described in moby's image specification v1.2:
// manifest.json names a configuration and the layers, whose digests are those of the
// uncompressed archives.
package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"runtime"
	"strings"
)

// Image is what an archive holds.
type Image struct {
	Tag        string            // repository:tag, as runtimes will know it
	Arch       string            // a GOARCH; "" is this program's
	Entrypoint []string          // what a container runs, before its own arguments
	Env        []string          // NAME=VALUE
	User       string            // "" is root
	Labels     map[string]string // org.opencontainers.image.* and the like
	Also       []string          // further tags of the same image
	Under      []string          // files of this machine, each a layer as it is (uncompressed tar), below Layers
	Layers     [][]File          // the lowest first; what rarely changes belongs there
}

// File is one file of a layer. Folders above it are made, with mode 0755.
type File struct {
	Path    string // in the image: /etc/passwd
	Mode    int64  // 0 is 0644; links have none
	Content []byte
	From    string // a file of this machine to read, where Content is nil
	Link    string // a symbolic link to this, and nothing else of the above
}

// WriteFile writes the archive to a file, whole or not at all.
func (i Image) WriteFile(name string) error {
	tmp, err := os.Create(name + ".tmp")
	if err != nil {
		return err
	}
	if err := errors.Join(i.Write(tmp), tmp.Close()); err != nil {
		os.Remove(tmp.Name())
		return err
	}
	return os.Rename(tmp.Name(), name)
}

// Write writes the archive.
func (i Image) Write(w io.Writer) error {
	tags := append([]string{i.Tag}, i.Also...)
	for _, t := range tags {
		if repository, tag, _ := cutTag(t); repository == "" || tag == "" {
			return fmt.Errorf("image tag %q: must be REPOSITORY:TAG", t)
		}
	}
	var parts []entry
	var names, digests []string
	add := func(e entry, sum [sha256.Size]byte) {
		e.name, e.mode = fmt.Sprintf("layer%d.tar", len(parts)), 0o644
		parts, names, digests = append(parts, e), append(names, e.name), append(digests, "sha256:"+hex.EncodeToString(sum[:]))
	}
	for _, from := range i.Under {
		sum, size, err := digest(from)
		if err != nil {
			return err
		}
		add(entry{from: from, size: size}, sum)
	}
	for _, files := range i.Layers {
		content, err := layer(files)
		if err != nil {
			return err
		}
		add(entry{content: content}, sha256.Sum256(content))
	}
	arch := i.Arch
	if arch == "" {
		arch = runtime.GOARCH
	}
	config, err := json.Marshal(map[string]any{
		"architecture": arch, "os": "linux",
		"config": settings{Entrypoint: i.Entrypoint, Env: i.Env, User: i.User, Labels: i.Labels, WorkingDir: "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": digests},
	})
	if err != nil {
		return err
	}
	manifest, err := json.Marshal([]map[string]any{{"Config": "config.json", "RepoTags": tags, "Layers": names}})
	if err != nil {
		return err
	}
	head := []entry{{name: "manifest.json", mode: 0o644, content: manifest}, {name: "config.json", mode: 0o644, content: config}}
	return archive(w, append(head, parts...))
}

// digest is of a file's content.
func digest(name string) (sum [sha256.Size]byte, size int64, err error) {
	f, err := os.Open(name)
	if err != nil {
		return sum, 0, err
	}
	defer f.Close()
	h := sha256.New()
	size, err = io.Copy(h, f)
	return [sha256.Size]byte(h.Sum(nil)), size, err
}

type settings struct {
	Entrypoint []string          `json:",omitempty"`
	Env        []string          `json:",omitempty"`
	User       string            `json:",omitempty"`
	Labels     map[string]string `json:",omitempty"`
	WorkingDir string
}

// cutTag splits at the colon of the tag, which is not that of a registry's port.
func cutTag(ref string) (repository, tag string, ok bool) {
	at := strings.LastIndex(ref, ":")
	if at < 0 || strings.Contains(ref[at:], "/") {
		return ref, "", false
	}
	return ref[:at], ref[at+1:], true
}

// layer is the archive of some files, with the folders that lead to them.
func layer(files []File) ([]byte, error) {
	var entries []entry
	made := map[string]bool{".": true, "": true}
	for _, f := range files {
		name := strings.TrimPrefix(path.Clean("/"+f.Path), "/")
		if name == "" {
			return nil, fmt.Errorf("path %q: names no file", f.Path)
		}
		if made[name] {
			return nil, fmt.Errorf("path %q: is in the layer already", f.Path)
		}
		entries = append(entries, folders(path.Dir(name), made)...)
		e := entry{name: name, mode: f.Mode, content: f.Content, link: f.Link}
		if e.mode == 0 {
			e.mode = 0o644
		}
		if f.Link == "" && f.Content == nil && f.From != "" {
			content, err := os.ReadFile(f.From)
			if err != nil {
				return nil, err
			}
			e.content = content
		}
		made[name] = true
		entries = append(entries, e)
	}
	var out bytes.Buffer
	err := archive(&out, entries)
	return out.Bytes(), err
}

// folders are dir and those above it that are not made yet, the highest first.
func folders(dir string, made map[string]bool) []entry {
	if made[dir] {
		return nil
	}
	above := folders(path.Dir(dir), made)
	made[dir] = true
	return append(above, entry{name: dir + "/", mode: 0o755, dir: true})
}

type entry struct {
	name, link string
	mode       int64
	content    []byte
	from       string // a file of this machine to copy instead, of size bytes
	size       int64
	dir        bool
}

func archive(to io.Writer, entries []entry) error {
	w := tar.NewWriter(to)
	for _, e := range entries {
		if err := e.write(w); err != nil {
			return fmt.Errorf("%s: %w", e.name, err)
		}
	}
	return w.Close()
}

func (e entry) write(w *tar.Writer) error {
	h := &tar.Header{Name: e.name, Mode: e.mode, Size: int64(len(e.content)), Typeflag: tar.TypeReg, Format: tar.FormatUSTAR}
	switch {
	case e.dir:
		h.Typeflag, h.Size = tar.TypeDir, 0
	case e.link != "":
		h.Typeflag, h.Size, h.Linkname, h.Mode = tar.TypeSymlink, 0, e.link, int64(fs.ModePerm)
	case e.from != "":
		h.Size = e.size
	}
	if err := w.WriteHeader(h); err != nil || h.Size == 0 {
		return err
	}
	if e.from == "" {
		_, err := w.Write(e.content)
		return err
	}
	f, err := os.Open(e.from)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}
