package mesh

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whoever writes resources of a cluster has every node decode them: an object of the size
// that an API server takes must not cost seconds.
func TestDecodingTakesTimeBySize(t *testing.T) {
	const few, more = 4000, 8
	for _, tt := range []struct{ what, item, object string }{
		{"headers of a match", `"h%d":{"exact":"x"}`, `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"a"},"spec":{"hosts":["a.com"],"http":[{"match":[{"headers":{%s}}],"route":[{"destination":{"host":"a.com"}}]}]}}`},
		{"unknown fields", `"h%d":{"exact":"x"}`, `{"apiVersion":"networking.istio.io/v1","kind":"ServiceEntry","metadata":{"name":"a"},"spec":{%s}}`},
		{"hosts", `"h%d.com"`, `{"apiVersion":"networking.istio.io/v1","kind":"VirtualService","metadata":{"name":"a"},"spec":{"hosts":[%s],"http":[{"route":[{"destination":{"host":"a.com"}}]}]}}`},
	} {
		took := func(n int) time.Duration {
			var keys []string
			for i := range n {
				keys = append(keys, fmt.Sprintf(tt.item, i))
			}
			text := []byte(fmt.Sprintf(tt.object, strings.Join(keys, ",")))
			least := time.Hour
			for range 3 {
				began := processorTime(t)
				Decode("a.json", text, DecodeOptions{})
				least = min(least, processorTime(t)-began)
			}
			return least
		}
		if small, large := took(few), took(more*few); large > 4*more*small { // by the square: more*more
			t.Errorf("%s: %d take %v, %d times as many %v", tt.what, few, small, more, large)
		}
	}
}

// processorTime is what this process has had so far: others on the machine do not count.
func processorTime(t *testing.T) time.Duration {
	t.Helper()
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		t.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}
