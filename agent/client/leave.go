package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"

	"golang.org/x/sys/unix"

	"github.com/sluice-cni/sluice/agent"
)

// ErrNone: there is no agent to let go of pods.
var ErrNone = errors.New("nobody listens there")

// UnfinishedError: the agent's answer ended before it had let go of every pod, or ctx did.
type UnfinishedError struct {
	Left agent.Leaving // as far as it was told
	Err  error
}

func (e *UnfinishedError) Error() string { return "has not let go of every pod: " + e.Err.Error() }
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Leave asks the agent at a socket to un-enrol every pod, and returns when it has. say hears
// how far that is, whenever it is another.
func Leave(ctx context.Context, socket string, say func(agent.Leaving)) error {
	client := over(func(ctx context.Context) (net.Conn, error) { return (&net.Dialer{}).DialContext(ctx, "unix", socket) })
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent"+agent.LeavePath, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return ErrNone
	}
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", answer.Status, complaint(answer))
	}
	return follow(json.NewDecoder(answer.Body), say)
}

// follow reads the lines of an answer. One that ends without Done says nothing of that.
func follow(lines *json.Decoder, say func(agent.Leaving)) error {
	var last agent.Leaving
	for first := true; ; first = false {
		var now agent.Leaving
		if err := lines.Decode(&now); err != nil {
			return &UnfinishedError{Left: last, Err: err}
		}
		if now.Done {
			return nil
		}
		if first || now != last {
			say(now)
		}
		last = now
	}
}
