package mesh

import (
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	networking "istio.io/api/networking/v1alpha3"
)

func TestWhatIsNotWrittenOfRetriesIsIstiosDefault(t *testing.T) {
	t.Parallel()
	compile := func(in *networking.HTTPRetry) RetryPolicy { return *compileRetries(in, time.Second) }
	same := func(what string, got, want RetryPolicy) {
		t.Helper()
		if got.Attempts != want.Attempts || got.On != want.On || got.PerTry != want.PerTry || got.Base != want.Base || got.AnyHost != want.AnyHost {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	standard := RetryPolicy{Attempts: 2, Base: 25 * time.Millisecond, On: RetryOnConnectFailure | RetryOnRefusedStream | RetryOnUnavailable | RetryOnCancelled}
	same("nothing", compile(nil), standard)
	four := standard
	four.Attempts = 4
	same("attempts alone", compile(&networking.HTTPRetry{Attempts: 4}), four)
	if off := compile(&networking.HTTPRetry{}); off.Attempts != 0 {
		t.Errorf("attempts 0: %+v", off)
	}
	all := compile(&networking.HTTPRetry{Attempts: 1, RetryOn: "503,reset,404", PerTryTimeout: durationpb.New(time.Millisecond),
		Backoff: durationpb.New(time.Minute), RetryIgnorePreviousHosts: wrapperspb.Bool(false)})
	same("all", all, RetryPolicy{Attempts: 1, On: RetryOnReset, PerTry: time.Millisecond, Base: time.Minute, AnyHost: true})
	if len(all.Statuses) != 2 || all.Statuses[0] != 404 || all.Statuses[1] != 503 {
		t.Errorf("statuses %v", all.Statuses)
	}
	long := standard
	same("a try as long as the request", compile(&networking.HTTPRetry{Attempts: 2, PerTryTimeout: durationpb.New(time.Second)}), long)
}

// Envoy's documentation: [0, (2^N-1)B), the first 0-24 ms, then 0-74, 0-174, and at
// most ten times the base.
func TestBackOffGrowsAsEnvoysDoes(t *testing.T) {
	t.Parallel()
	for n, want := range []time.Duration{1: 25, 2: 75, 3: 175, 4: 250, 5: 250, 40: 250, 4000: 250} {
		if n > 0 && want > 0 {
			if got := DefaultRetry.Backoff(uint32(n)); got != want*time.Millisecond {
				t.Errorf("retry %d: %v, want %v", n, got, want*time.Millisecond)
			}
		}
	}
	forever := compileRetries(&networking.HTTPRetry{Attempts: 1, Backoff: durationpb.New(1<<63 - 1)}, 0)
	if got := forever.Backoff(9); got <= 0 {
		t.Errorf("the longest base: %v", got)
	}
}

func TestFailuresAreJudgedAsEnvoyDoes(t *testing.T) {
	t.Parallel()
	type failed struct {
		f      Failure
		unsent bool
	}
	everything := []failed{{NoConnection, true}, {NoConnection, false}, {RefusedStream, false}, {Reset, true}, {Reset, false}}
	for condition, want := range map[string][5]bool{
		"5xx":                  {true, true, true, true, true},
		"gateway-error":        {true, true, true, true, true},
		"reset":                {true, true, true, true, true},
		"reset-before-request": {true, false, false, true, false},
		"connect-failure":      {true, true, false, false, false},
		"refused-stream":       {false, false, true, false, false},
		"retriable-4xx":        {},
		"503":                  {},
		"unavailable":          {},
	} {
		p := compileRetries(&networking.HTTPRetry{Attempts: 1, RetryOn: condition}, 0)
		for i, x := range everything {
			if got := p.Failed(x.f, x.unsent); got != want[i] {
				t.Errorf("%s, %+v: %v", condition, x, got)
			}
		}
	}
}

// What need not be kept is not: no splicing kernel could give it back.
func TestOnlyAPolicyThatMayWantABodyAgainKeepsIt(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		on       string
		h2, grpc bool
		want     bool
	}{
		{"connect-failure,reset-before-request", true, true, false},
		{"", false, false, false}, // the default
		{"", true, false, true},
		{"", false, true, true},
		{"unavailable", false, false, false},
		{"503", false, false, true},
		{"5xx", false, false, true},
	} {
		p := compileRetries(&networking.HTTPRetry{Attempts: 1, RetryOn: c.on}, 0)
		if got := p.Repeats(c.h2, c.grpc); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	if noRetry.Repeats(true, true) {
		t.Error("no retry, and yet the body is kept")
	}
}
