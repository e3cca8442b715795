package rest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sluice-cni/sluice/internal/rest"
)

func TestARestEndsWithItsTimeOrItsContext(t *testing.T) {
	t.Parallel()
	over := errors.New("over")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		time.AfterFunc(time.Minute, func() { cancel(over) })
		for _, c := range []struct {
			limit time.Duration
			want  error
		}{{time.Second, nil}, {time.Hour, over}} {
			began := time.Now()
			if err := rest.For(ctx, c.limit); err != c.want {
				t.Errorf("after %v: %v, want %v", time.Since(began), err, c.want)
			}
		}
	})
}
