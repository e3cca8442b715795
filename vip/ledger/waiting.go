package ledger

import (
	"context"
	"log/slog"
	"os"
	"time"

	"github.com/sluice-cni/sluice/vip"
)

// lockEvery is how often a lock is tried that another process has: the kernel tells
// nobody that it is free.
const lockEvery = 100 * time.Millisecond

// OpenWaiting is Open for a process that takes over from another while that still serves.
// It reads the book at once, and while the other has the directory it gives the names the
// addresses that the file has, new names those they hash to, and writes nothing. Once the
// directory is free it takes it and merges what the other wrote last: that counts, since
// it was answered with first. Where a name that was given an address here gets another
// one by that, merged is called, by a goroutine of the Ledger's: Assign has the new one.
// The wait ends with ctx or Close.
func OpenWaiting(ctx context.Context, dir string, log *slog.Logger, merged func()) (*Ledger, error) {
	l, err := begin(dir, log)
	if err != nil || l.path == "" || l.owns {
		return l, err
	}
	log.Info("another process keeps the virtual addresses; this one follows it and takes over when it lets go", "file", l.path)
	l.wait(ctx, merged)
	return l, nil
}

// Retake has the directory again after Close, for a process that goes on since the one
// that took over from it is gone; as OpenWaiting it waits while somebody else has it, and
// calls merged. Without a Close before it does nothing.
func (l *Ledger) Retake(ctx context.Context, merged func()) error {
	l.turn.Lock()
	defer l.turn.Unlock()
	if l.path == "" || l.lock != nil {
		return nil
	}
	if err := l.openLock(); err != nil {
		return err
	}
	l.wait(ctx, merged)
	return nil
}

// wait takes the directory once it is free; Close ends it.
func (l *Ledger) wait(ctx context.Context, merged func()) {
	lock := l.lock
	ctx, l.stop = context.WithCancel(ctx)
	l.waiting.Go(func() {
		if awaitLock(ctx, lock) && l.takeOver() {
			merged()
		}
	})
}

func awaitLock(ctx context.Context, lock *os.File) bool {
	again := time.NewTicker(lockEvery)
	defer again.Stop()
	for !tryLock(lock) {
		select {
		case <-again.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// takeOver makes the file this Ledger's and says whether a name has another address now.
func (l *Ledger) takeOver() (moved bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	before := l.book
	l.follow()
	l.owns = true
	l.keep()
	n := 0
	for host := range before {
		was, registered := before.Slot(host)
		if is, ok := l.book.Slot(host); registered && (!ok || is != was) {
			n++
		}
	}
	l.log.Info("the virtual addresses are this process's to keep now", "file", l.path, "moved", n)
	return n > 0
}

// follow takes in what the file has: it comes before what only this book says.
func (l *Ledger) follow() {
	data, err := read(l.path)
	if err != nil {
		return // none yet, or it is said by who keeps it
	}
	theirs, _ := decode(data)
	l.book = merge(theirs, l.book)
}

// merge is theirs, and ours as far as it is in nobody's way. A host of which ours says
// that it is registered is; in whose part is ours to say too.
func merge(theirs, ours vip.Book) vip.Book {
	next, taken := make(vip.Book, len(theirs)), make(map[vip.Slot]bool, len(theirs))
	for host, a := range theirs {
		if mine, known := ours[host]; known {
			a.Left, a.Namespace = mine.Left, mine.Namespace
		}
		next[host] = a
		taken[a.Slot] = true
	}
	for host, a := range ours {
		if _, known := next[host]; !known && !taken[a.Slot] {
			next[host] = a
		}
	}
	return next
}
