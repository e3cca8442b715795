package discover

import (
	"bytes"
	"path"
	"regexp"
	"strings"
)

// word is a word of a command line and the line of the input it is on.
type word struct {
	text string
	line int
}

// named finds "name: value" and "name=value" in a line that somebody cut out of
// something, with what grep -n or grep -H put before it.
var named = regexp.MustCompile(`(?:^|[\s"'{,:;-])([A-Za-z][A-Za-z0-9_]*)["']?\s*[:=]\s*["'\[]*([0-9A-Fa-f][0-9A-Fa-f.:,/]*)`)

// lines reads text that is no document: settings that stand in it, or command lines.
func (r *reader) lines(data []byte) {
	number := 0
	var words []word
	for line := range bytes.Lines(data) {
		number++
		for _, m := range named.FindAllStringSubmatch(string(line), -1) {
			if meaning, known := settings[m[1]]; known {
				r.add(strings.Trim(m[2], ",:"), meaning, r.at(number, m[1]))
			}
		}
		// The arguments in /proc/PID/cmdline end with a NUL; in a unit file or a shell
		// script a backslash continues the line.
		text := strings.NewReplacer("\x00", " ", "\\\n", " ").Replace(string(line))
		for w := range strings.FieldsSeq(text) {
			words = append(words, word{w, number})
		}
	}
	r.argv(words)
}

// programs are those whose flags tell ranges.
var programs = map[string]bool{
	"kube-apiserver": true, "kube-controller-manager": true, "kube-proxy": true, "kubelet": true, "hyperkube": true,
	"kubeadm": true, "k3s": true, "rke2": true, "k0s": true, "minikube": true,
}

// argv reads command lines: "--flag=value" and "--flag value", quoted or not.
func (r *reader) argv(words []word) {
	outer := r.object
	defer func() { r.object = outer }()
	for i, w := range words {
		bare := strings.Trim(w.text, `"',[]`)
		if programs[path.Base(bare)] && outer == "" {
			r.object = path.Base(bare)
		}
		flag, value, given := strings.Cut(bare, "=")
		name := strings.TrimLeft(flag, "-")
		meaning, known := flags[name]
		if !known || name == flag {
			continue
		}
		if !given && i+1 < len(words) {
			value = words[i+1].text
		}
		r.add(strings.Trim(value, `"',[];`), meaning, r.at(w.line, "--"+name))
	}
}
