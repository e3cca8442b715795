package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/sluice-cni/sluice/proxy"
)

// Values of --access-log-format.
var accessLogFormats = map[string]proxy.AccessLogFormat{"json": proxy.AccessLogJSON, "text": proxy.AccessLogText}

const accessLogFormatFlag = "`FORMAT` of the access log: json, or text, which is Istio's default line"

func accessLogFormat(text string) (proxy.AccessLogFormat, error) {
	f, known := accessLogFormats[text]
	if !known {
		return 0, fmt.Errorf("--access-log-format %q: not a format; use json or text", text)
	}
	return f, nil
}

// openOutput opens what a flag names for writing: "-" is standard output, "off"
// and "" are nothing (nil), all else is a file that is appended to (a *logFile).
func openOutput(flag, name string, stdout io.Writer) (io.Writer, func() error, error) {
	nothing := func() error { return nil }
	switch name {
	case "", "off":
		return nil, nothing, nil
	case "-":
		return stdout, nothing, nil
	}
	f, err := openLogFile(name)
	if err != nil {
		return nil, nothing, fmt.Errorf("--%s %q: cannot be written: %w", flag, name, reason(err))
	}
	return f, f.Close, nil
}

// reopenOnSignal opens a log file anew at each SIGUSR1, as Envoy does, until stop is called.
// The signal is caught even without a file: it would end the process.
func reopenOnSignal(out any, log *slog.Logger) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range signals {
			if f, ok := out.(*logFile); ok {
				if err := f.Reopen(); err != nil {
					log.Error("the access log cannot be opened anew; the old file is written on", "error", err)
				}
			}
		}
	}()
	return func() { signal.Stop(signals); close(signals); <-ended }
}
