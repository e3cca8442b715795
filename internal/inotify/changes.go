package inotify

import (
	"context"
	"os"
	"time"
)

// attachTime is how often it is looked whether the directory is another one by now, or
// there at all.
const attachTime = time.Second

// Changes gives a token after something happened in the directory, one for all that
// happened meanwhile, also when it is made or replaced. Where the system has no
// Watcher left there is a token every second, so that whoever looks then misses
// nothing. The channel is closed some time after ctx has ended, by which nothing of
// Changes is left.
func Changes(ctx context.Context, dir string) <-chan struct{} {
	tokens := make(chan struct{}, 1)
	go func() {
		defer close(tokens)
		tell := func() {
			select {
			case tokens <- struct{}{}:
			default:
			}
		}
		w, err := New()
		if err != nil {
			everySecond(ctx, tell)
			return
		}
		defer w.Close()
		ran := make(chan struct{})
		go func() {
			defer close(ran)
			w.Run(ctx)
		}()
		follow(ctx, w, dir, tell)
		w.Close()
		<-ran
	}()
	return tokens
}

func everySecond(ctx context.Context, tell func()) {
	t := time.NewTicker(attachTime)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			tell()
		}
	}
}

func follow(ctx context.Context, w *Watcher, dir string, tell func()) {
	t := time.NewTicker(attachTime)
	defer t.Stop()
	var attached os.FileInfo
	attach := func() {
		info, err := os.Stat(dir)
		if err != nil || attached != nil && os.SameFile(info, attached) {
			return
		}
		if w.Add(dir) == nil {
			attached = info
		}
		tell()
	}
	attach()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			attach()
		case _, more := <-w.Ready():
			if !more {
				everySecond(ctx, tell)
				return
			}
			w.Drain(func(e Event) {
				if e.Mask&Itself != 0 {
					attached = nil
				}
			})
			w.Again()
			tell()
		}
	}
}
