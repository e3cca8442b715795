package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// sample is what the proxy holds at one moment.
type sample struct {
	at time.Time
	// resident memory and the heap in use, in bytes; goroutines; open descriptors.
	values [4]float64
}

// quantities are what a sample has, and what may be added to one without anybody
// calling it growth: the noise of a garbage collector, or of a pool.
var quantities = [4]struct {
	name  string
	unit  float64
	label string
	noise float64
}{
	{"resident memory", 1 << 20, "MiB", 3 << 20},
	{"heap in use", 1 << 20, "MiB", 3 << 20},
	{"goroutines", 1, "", 12},
	{"descriptors", 1, "", 12},
}

const (
	sampleEvery = time.Second
	metricsURL  = "http://127.0.0.1:15090/metrics"
)

// sampler watches a process.
type sampler struct {
	pid     int
	client  http.Client
	samples []sample
}

func (s *sampler) run(ctx context.Context) error {
	s.client = http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{Proxy: nil}}
	defer s.client.CloseIdleConnections()
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-tick.C:
			one, err := s.take(now)
			if err != nil {
				return err
			}
			s.samples = append(s.samples, one)
		}
	}
}

func (s *sampler) take(now time.Time) (sample, error) {
	one := sample{at: now}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	if err != nil {
		return one, err
	}
	one.values[0] = 1024 * field(string(status), "VmRSS:")
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", s.pid))
	if err != nil {
		return one, err
	}
	one.values[3] = float64(len(open))
	answer, err := s.client.Get(metricsURL)
	if err != nil {
		return one, err
	}
	defer answer.Body.Close()
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
		for i, name := range map[int]string{1: "go_memstats_heap_inuse_bytes ", 2: "go_goroutines "} {
			if strings.HasPrefix(lines.Text(), name) {
				one.values[i] = field(lines.Text(), name)
			}
		}
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return one, err
}

// field is the number after a name in a text, 0 where there is none.
func field(text, name string) float64 {
	_, rest, _ := strings.Cut(text, name)
	words := strings.Fields(rest)
	if len(words) == 0 {
		return 0
	}
	n, _ := strconv.ParseFloat(words[0], 64)
	return n
}
