package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
)

// together runs every task until ctx ends or one of them returns; it returns when
// all have.
func together(ctx context.Context, tasks ...func(context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, len(tasks))
	for _, task := range tasks {
		go func() { ended <- task(ctx) }()
	}
	var errs []error
	for range tasks {
		errs = append(errs, <-ended)
		cancel()
	}
	return errors.Join(errs...)
}

// alongside runs extra for as long as serve runs, its draining included. Trouble with
// extra does not end egress.
func alongside(name string, log *slog.Logger, extra, serve func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		until, stop := context.WithCancel(context.WithoutCancel(ctx))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			sayFailed(log, name, extra(until))
		}()
		err := serve(ctx)
		stop()
		<-ended
		return err
	}
}

// sayFailed says that something beside the traffic has failed. A second signal closes
// sockets while they are served, which is no failure.
func sayFailed(log *slog.Logger, name string, err error) {
	if err != nil && !errors.Is(err, net.ErrClosed) {
		log.Error(name+" failed; egress goes on without", "error", err)
	}
}
