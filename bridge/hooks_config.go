package bridge

import (
	"context"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
)

// HooksConfig says what hooks may do. Dial and Egress are required.
type HooksConfig struct {
	Dial     func(ctx context.Context, p Principal) (wampcore.Transport, error)
	Login    Login   // of their sessions; default: anonymous
	Egress   *Egress // of hooks that are configured, or discovered
	REST     *Egress // of those that principals make; default: Egress
	Log      zerolog.Logger
	Observer Observer // is told of calls and deliveries; optional

	NoAnonymous   bool          // principals without an identity make none
	PerPrincipal  int           // hooks that one principal may make; default 32
	Made          int           // that all may make; default 256
	MaxAnswer     int           // bytes of an answer, or of one part of a streamed one; default 1 MiB
	QueueEvents   int           // that one hook has read ahead; default 256
	QueueBytes    int           // the same in bytes; default 1 MiB
	BreakAfter    int           // failures in a row after which a procedure's requests are not tried; default 5
	BreakFor      time.Duration // how long; default 10 s
	RetryDelay    time.Duration // the first is up to this long; default 500 ms
	RetryDelayMax time.Duration // that it grows to, and the longest Retry-After that is honoured; default 1 min
}

func (c HooksConfig) withDefaults() HooksConfig {
	if c.REST == nil {
		c.REST = c.Egress
	}
	for _, n := range []struct {
		v   *int
		def int
	}{
		{&c.PerPrincipal, 32}, {&c.Made, 256}, {&c.MaxAnswer, 1 << 20}, {&c.QueueEvents, 256}, {&c.QueueBytes, 1 << 20}, {&c.BreakAfter, 5},
	} {
		if *n.v <= 0 {
			*n.v = n.def
		}
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{{&c.BreakFor, 10 * time.Second}, {&c.RetryDelay, 500 * time.Millisecond}, {&c.RetryDelayMax, time.Minute}} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	return c
}
