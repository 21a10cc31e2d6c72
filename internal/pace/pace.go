// Package pace spreads work over time, so that those whom it concerns do not all come back at the same moment.
package pace

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"
)

// Over does f for 0 to n-1, each at a random moment within the window. It returns early, with ctx's cause, when ctx ends.
func Over(ctx context.Context, window time.Duration, n int, f func(i int)) error {
	begun := time.Now()
	at := make([]time.Duration, n)
	for i := range at {
		at[i] = rand.N(window + 1)
	}
	slices.Sort(at)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range n {
		timer.Reset(max(0, at[i]-time.Since(begun)))
		select {
		case <-timer.C:
			f(i)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
