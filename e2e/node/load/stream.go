package load

import (
	"context"
	"fmt"
	"time"
)

// Streamed is how a long connection ended.
type Streamed struct {
	Began, Ended time.Time
	What, Error  string // as in Failure; empty when it ended by itself
}

// Stream keeps a connection of kind TCP open for so long, with a line to and fro
// every 50 ms.
func Stream(ctx context.Context, t Target, lasting time.Duration) Streamed {
	s := Streamed{Began: time.Now()}
	if err := stream(ctx, t, lasting); err != nil {
		s.What, s.Error = class(err), err.Error()
	}
	s.Ended = time.Now()
	return s
}

func stream(ctx context.Context, t Target, lasting time.Duration) error {
	c, err := dial(ctx, "tcp", t.Address)
	if err != nil {
		return err
	}
	defer c.Close()
	ticks := time.NewTicker(50 * time.Millisecond)
	defer ticks.Stop()
	end := time.After(lasting)
	for n := 0; ; n++ {
		c.SetDeadline(time.Now().Add(Patience))
		if err := Echo(c, fmt.Sprintf("%s %d", t.Name, n)); err != nil {
			return err
		}
		select {
		case <-ticks.C:
		case <-end:
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}
