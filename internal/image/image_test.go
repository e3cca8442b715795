package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func some(t *testing.T) Image {
	t.Helper()
	from := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(from, []byte("ELF"), 0o600); err != nil {
		t.Fatal(err)
	}
	return Image{
		Tag: "some/name:1", Entrypoint: []string{"/program"},
		Layers: [][]File{
			{{Path: "/etc/ssl/cert.pem", Content: []byte("roots")}, {Path: "/etc/passwd", Content: []byte("root")}, {Path: "/var/run", Link: "/run"}},
			{{Path: "/program", Mode: 0o755, From: from}},
		},
	}
}

func written(t *testing.T, i Image) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := i.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func contents(t *testing.T, archive []byte) (names []string, content map[string]string) {
	t.Helper()
	content = map[string]string{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return names, content
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		name := h.Name
		if h.Typeflag == tar.TypeSymlink {
			name += " > " + h.Linkname
		}
		names, content[h.Name] = append(names, name), string(data)
		if h.Uid != 0 || h.Gid != 0 || h.ModTime.Unix() > 0 {
			t.Errorf("%s has an owner or a time: %+v", h.Name, h)
		}
	}
}

func TestAnArchiveHasAManifestAConfigurationAndLayers(t *testing.T) {
	t.Parallel()
	names, content := contents(t, written(t, some(t)))
	if want := []string{"manifest.json", "config.json", "layer0.tar", "layer1.tar"}; !reflect.DeepEqual(names, want) {
		t.Fatalf("it holds %q, not %q", names, want)
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
		Config struct{ Entrypoint []string }
	}
	if err := json.Unmarshal([]byte(content["config.json"]), &config); err != nil {
		t.Fatal(err)
	}
	for n, name := range []string{"layer0.tar", "layer1.tar"} {
		sum := sha256.Sum256([]byte(content[name]))
		if got := config.RootFS.DiffIDs[n]; got != "sha256:"+hex.EncodeToString(sum[:]) {
			t.Errorf("the configuration has %s for %s", got, name)
		}
	}
	if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "/program" {
		t.Errorf("the entry point is %q", got)
	}
	lower, files := contents(t, []byte(content["layer0.tar"]))
	if want := []string{"etc/", "etc/ssl/", "etc/ssl/cert.pem", "etc/passwd", "var/", "var/run > /run"}; !reflect.DeepEqual(lower, want) {
		t.Errorf("the lower layer holds %q, not %q", lower, want)
	}
	if files["etc/ssl/cert.pem"] != "roots" {
		t.Errorf("content: %q", files)
	}
	if _, upper := contents(t, []byte(content["layer1.tar"])); upper["program"] != "ELF" {
		t.Errorf("the program is %q", upper["program"])
	}
}

func TestTheSameContentMakesTheSameBytes(t *testing.T) {
	t.Parallel()
	if !bytes.Equal(written(t, some(t)), written(t, some(t))) {
		t.Error("two archives of the same content differ")
	}
}

func TestWhatIsNoImageIsRefused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		image Image
		says  string
	}{
		{Image{Tag: "name"}, "REPOSITORY:TAG"},
		{Image{Tag: "host:5000/name"}, "REPOSITORY:TAG"},
		{Image{Tag: "a:1", Layers: [][]File{{{Path: "/"}}}}, "names no file"},
		{Image{Tag: "a:1", Layers: [][]File{{{Path: "/a"}, {Path: "a"}}}}, "already"},
		{Image{Tag: "a:1", Layers: [][]File{{{Path: "/a", From: "/does/not/exist"}}}}, "/does/not/exist"},
	} {
		if err := c.image.Write(io.Discard); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, not %q", c.image, err, c.says)
		}
	}
}

func TestAnImageHasLayersOfOthersAndSeveralNames(t *testing.T) {
	t.Parallel()
	under := filepath.Join(t.TempDir(), "debian.tar")
	if err := os.WriteFile(under, []byte("a whole system"), 0o600); err != nil {
		t.Fatal(err)
	}
	i := some(t)
	i.Under, i.Also = []string{under}, []string{"other/name:2"}
	names, content := contents(t, written(t, i))
	if want := []string{"manifest.json", "config.json", "layer0.tar", "layer1.tar", "layer2.tar"}; !reflect.DeepEqual(names, want) {
		t.Fatalf("it holds %q, not %q", names, want)
	}
	if content["layer0.tar"] != "a whole system" {
		t.Errorf("the lowest layer is %q", content["layer0.tar"])
	}
	sum := sha256.Sum256([]byte("a whole system"))
	if lowest := `"diff_ids":["sha256:` + hex.EncodeToString(sum[:]); !strings.Contains(content["config.json"], lowest) {
		t.Errorf("the configuration has not %s: %s", lowest, content["config.json"])
	}
	if !strings.Contains(content["manifest.json"], `"RepoTags":["some/name:1","other/name:2"]`) {
		t.Errorf("the manifest names it otherwise: %s", content["manifest.json"])
	}
	i.Also = []string{"nameless"}
	if err := i.Write(io.Discard); err == nil || !strings.Contains(err.Error(), "REPOSITORY:TAG") {
		t.Errorf("a second name without a tag: %v", err)
	}
}
