package cri

import (
	"encoding/json"

	"github.com/sluice-cni/sluice/selection"
)

// verbose is what containerd tells of a sandbox beyond CRI; CRI-O has PID and the
// specification too. It is no part of the API: what is missing or of another form is
// not known, and no error.
type verbose struct {
	PID    int `json:"pid"`
	Config struct {
		DNS *selection.DNS `json:"dns_config"`
	} `json:"config"`
	RuntimeSpec struct {
		Linux struct {
			Namespaces []struct {
				Type string `json:"type"`
				Path string `json:"path"`
			} `json:"namespaces"`
		} `json:"linux"`
	} `json:"runtimeSpec"`
}

func (s *Sandbox) verbose(text string) {
	var v verbose
	if json.Unmarshal([]byte(text), &v) != nil {
		return
	}
	s.PID, s.DNS = v.PID, v.Config.DNS
	for _, n := range v.RuntimeSpec.Linux.Namespaces {
		if n.Type == "network" {
			s.Netns = n.Path
		}
	}
}
