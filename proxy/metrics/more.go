package metrics

import "github.com/prometheus/client_golang/prometheus"

// More shows numbers of somebody else's beside the proxy's: rows say which, and read is
// called at each scrape with a function to give each value to. Their names must not be
// the Catalogue's, nor each other's.
func (m *Metrics) More(rows []Metric, read func(show func(name string, value float64, labels ...string))) {
	c := more{read: read, rows: map[string]row{}}
	for _, r := range rows {
		kind := prometheus.GaugeValue
		if r.Kind == "counter" {
			kind = prometheus.CounterValue
		}
		c.rows[r.Name] = row{prometheus.NewDesc(r.Name, r.Help, r.Labels, nil), kind}
	}
	m.registry.MustRegister(c)
}

type row struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

// more is a prometheus.Collector.
type more struct {
	rows map[string]row
	read func(func(string, float64, ...string))
}

func (c more) Describe(ch chan<- *prometheus.Desc) {
	for _, r := range c.rows {
		ch <- r.desc
	}
}

func (c more) Collect(ch chan<- prometheus.Metric) {
	c.read(func(name string, value float64, labels ...string) {
		r := c.rows[name]
		ch <- prometheus.MustNewConstMetric(r.desc, r.kind, value, labels...)
	})
}
