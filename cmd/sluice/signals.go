package main

import (
	"context"
	"log/slog"
	"os"
	"os/signal"
	"slices"
	"syscall"
)

// endings are the signals that end a command: SIGTERM, and those of others that
// are not ignored, as in the background of a script or under nohup.
func endings(others ...os.Signal) []os.Signal {
	return append([]os.Signal{syscall.SIGTERM}, slices.DeleteFunc(others, signal.Ignored)...)
}

// untilSignal is a context that also ends with such a signal.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	return signal.NotifyContext(ctx, endings(os.Interrupt)...)
}

// untilSecondSignal runs serve until ctx ends or a signal comes, which stops it
// gracefully; a second signal stops it at once.
func untilSecondSignal(ctx context.Context, log *slog.Logger, serve func(context.Context) error) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, endings(syscall.SIGINT, syscall.SIGHUP)...)
	defer signal.Stop(signals)
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- serve(serving) }()
	for stopping := false; ; {
		select {
		case err := <-ended:
			return err
		case s := <-signals:
			if stopping {
				return exitCode(128 + int(s.(syscall.Signal)))
			}
			stopping = true
			log.Info("stopping: requests under way may finish; another signal stops at once")
			stop()
		}
	}
}
