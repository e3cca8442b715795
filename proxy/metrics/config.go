package metrics

import (
	"time"

	"github.com/sluice-cni/sluice/mesh"
)

// configuration is what is shown of the configuration in force.
type configuration struct {
	generation int64
	followed   map[*mesh.Snapshot]int // by so many workloads
	loaded     time.Time
	resources  func() int
	errors     func() int
}

// follow counts a snapshot, when the first workload follows it. nil is none.
func (f *configuration) follow(old, next *mesh.Snapshot) {
	if next != nil && f.followed[next] == 0 {
		f.generation++
	}
	if f.followed == nil {
		f.followed = map[*mesh.Snapshot]int{}
	}
	if next != nil {
		f.followed[next]++
	}
	if f.followed[old]--; f.followed[old] <= 0 {
		delete(f.followed, old)
	}
}

// Configuration shows how many resources are in force and how many errors there
// are, asked at each scrape.
func (m *Metrics) Configuration(resources, errors func() int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.config.resources, m.config.errors = resources, errors
}

func (f configuration) collect(c sink) {
	c.gauge("sluice_config_generation", float64(f.generation))
	if !f.loaded.IsZero() {
		c.gauge("sluice_config_last_load_timestamp_seconds", float64(f.loaded.UnixMilli())/1000)
	}
	if f.resources != nil {
		c.gauge("sluice_config_resources", float64(f.resources()))
		c.gauge("sluice_config_errors", float64(f.errors()))
	}
}
