package metrics

import "time"

// configuration is what is shown of the configuration in force.
type configuration struct {
	generation int64
	loaded     time.Time
	resources  func() int
	errors     func() int
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
