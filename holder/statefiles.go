package holder

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

// stateFiles are what a holder that dies leaves to the next: a file for each pod, and
// one about the agents. They lie in /run, which goes with the namespaces when the
// machine does; so nothing is synced to a disk. Each is one line of JSON and one with
// its checksum, and comes into place by rename: a reader sees a whole file or none,
// and a torn one for what it is.
type stateFiles struct {
	dir string
	// saved are the paths that are there, unless somebody removes them.
	saved map[string]bool
}

const (
	podsDir    = "pods"
	agentsFile = "agents.json"
	suffix     = ".json"
)

func newStateFiles(runDir string) stateFiles { return stateFiles{runDir, map[string]bool{}} }

// make makes the directory of the pods' files. What was saved is to be there still.
func (s stateFiles) make() error { return os.MkdirAll(filepath.Join(s.dir, podsDir), 0o700) }

func (s stateFiles) pod(n wire.Netns) string {
	return filepath.Join(s.dir, podsDir, n.String()+suffix)
}

func (s stateFiles) save(k wire.Holding) error { return s.write(s.pod(k.Netns), k) }

func (s stateFiles) write(path string, v any) error {
	err := writeChecked(path, v)
	if err == nil {
		s.saved[path] = true
	}
	return err
}

// missing is a file that was written and is not there, "" when all are.
func (s stateFiles) missing() string {
	for path := range s.saved {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path
		}
	}
	return ""
}

func (s stateFiles) forget(n wire.Netns) error {
	delete(s.saved, s.pod(n))
	if err := os.Remove(s.pod(n)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (s stateFiles) remember(m core.Memory) error {
	return s.write(filepath.Join(s.dir, agentsFile), m)
}

func (s stateFiles) memory() (m core.Memory) {
	readChecked(filepath.Join(s.dir, agentsFile), &m) // without it there is an agent's word to wait for
	return m
}

// pods reads every pod's file. One that is torn is removed: its pod is found again by
// what its rules say of themselves, or kept by an agent.
func (s stateFiles) pods(log *slog.Logger) (all []wire.Holding, err error) {
	dir := filepath.Join(s.dir, podsDir)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		var k wire.Holding
		switch err := readChecked(path, &k); {
		case !strings.HasSuffix(e.Name(), suffix): // a holder died before it renamed it
			os.Remove(path)
		case err == nil && k.Netns.String()+suffix == e.Name():
			all = append(all, k)
		default:
			log.Warn("a pod's state file is torn and removed; an agent or the next look at running pods brings the pod back", "file", path, "problem", fmt.Sprint(err))
			os.Remove(path)
		}
	}
	return all, nil
}

func writeChecked(path string, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	line = append(line, '\n')
	temporary := path + ".tmp"
	err = os.WriteFile(temporary, append(line, checksum(line)...), 0o600)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		os.Remove(temporary)
	}
	return err
}

func readChecked(path string, v any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	end := bytes.IndexByte(content, '\n') + 1
	if end == 0 || string(content[end:]) != checksum(content[:end]) {
		return errors.New("the checksum is not that of the content")
	}
	return json.Unmarshal(content[:end], v)
}

func checksum(line []byte) string {
	sum := sha256.Sum256(line)
	return "sha256:" + hex.EncodeToString(sum[:]) + "\n"
}
