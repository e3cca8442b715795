package holder

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/holder/core"
	"github.com/sluice-cni/sluice/holder/wire"
)

// bundles are the descriptors of all pods: bare numbers, since an os.File of a socket
// that does not block would have the runtime wake for each of a pod's connections.
type bundles struct {
	mu   sync.Mutex
	last core.Bundle
	all  map[core.Bundle]*bundle
	open int // descriptors in all of them
}

// ownFiles are for peers, what they send before it is looked at, and state files.
const ownFiles = 256

// bundle is a pod's sockets in the order of its Holding, then its namespace. Of a pod
// whose sockets are lost only the namespace is there.
type bundle struct {
	fds     []int
	sockets []wire.Socket
	// users: the core until it drops it, each message that is yet to be sent, the
	// refuser.
	users int
}

func newBundles() *bundles { return &bundles{all: map[core.Bundle]*bundle{}} }

// add takes the descriptors over; the first user is the caller.
func (b *bundles) add(fds []int, sockets []wire.Socket) core.Bundle {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	b.open += len(fds)
	b.all[b.last] = &bundle{fds: fds, sockets: sockets, users: 1}
	return b.last
}

// use adds a user; nil: there is no such bundle, as for the number zero.
func (b *bundles) use(id core.Bundle) *bundle {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.all[id]
	if one != nil {
		one.users++
	}
	return one
}

// drop takes a user away, and with the last one closes the descriptors.
func (b *bundles) drop(id core.Bundle) {
	b.mu.Lock()
	defer b.mu.Unlock()
	one := b.all[id]
	if one == nil {
		return
	}
	if one.users--; one.users == 0 {
		delete(b.all, id)
		b.open -= len(one.fds)
		closeAll(one.fds)
	}
}

// room says whether so many more leave enough descriptors for the holder's own use:
// without any it could not even be told what to release.
func (b *bundles) room(more int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	own := min(ownFiles, limit.Cur/4)
	b.mu.Lock()
	defer b.mu.Unlock()
	if uint64(b.open+more) > limit.Cur-own {
		return fmt.Errorf("%d descriptors are held, and %d more do not fit into the limit of open files (%d); raise it (LimitNOFILE)", b.open, more, limit.Cur)
	}
	return nil
}

// closeAll ends everything; for the end of the holder.
func (b *bundles) closeAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, one := range b.all {
		closeAll(one.fds)
	}
	b.all = map[core.Bundle]*bundle{}
}

// netns is the namespace's descriptor.
func (b *bundle) netns() int { return b.fds[len(b.fds)-1] }

// broken: the sockets are not there.
func (b *bundle) broken() bool { return len(b.fds) == 1 && len(b.sockets) > 0 }

func closeAll(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}
