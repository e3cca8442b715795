// Package rest is the pause between two tries of something.
package rest

import (
	"context"
	"time"
)

// For returns nil after d, or the cause once ctx has ended.
func For(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
