package dnsproxy

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-cni/sluice/internal/rest"
	"github.com/sluice-cni/sluice/proxy/nowait"
)

const (
	// betweenFailures is the wait after an error of a socket, so that one that lasts takes
	// no processor.
	betweenFailures = 10 * time.Millisecond
	// mostFailures in a row, a second of them, and the socket serves nobody any more.
	mostFailures = 100
)

// failing is how often a socket has failed in a row.
type failing int

// again waits after err, and says nil where the socket is to be tried again, or the reason
// why not. For descriptors and memory it waits for ever: another socket would get none either.
func (f *failing) again(ctx context.Context, s *Server, what string, err error) error {
	if nowait.PassesByItself(err) {
		*f = 0
		s.tellFailing(what, err)
	} else if *f++; *f >= mostFailures {
		return fmt.Errorf("dns: %s failed %d times in a row, the last time: %w", what, *f, err)
	}
	rest.For(ctx, betweenFailures)
	return nil
}
