package main

import (
	"log/slog"
	"math"
	"runtime/debug"
	gometrics "runtime/metrics"
	"time"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/rs/zerolog"
)

// limitMemory has the garbage collector heed the limit of the container, if there is one, and GOMEMLIMIT does not say other:
// else it is the kernel who does, by SIGKILL. A tenth is left for what is not Go's.
func limitMemory(log zerolog.Logger) {
	limit, err := memlimit.Set(memlimit.WithLogger(slog.New(slog.DiscardHandler)))
	switch {
	case err != nil:
		log.Debug().Err(err).Msg("the memory limit of the container is not known")
	case limit < math.MaxInt64:
		log.Info().Int64("bytes", limit).Msg("memory limit")
	}
}

// When memory is given back to the system: the collector itself would keep twice of what is in use, for as long as nothing is allocated.
const (
	lookEvery = 2 * time.Second
	pauseTime = 10 * time.Second // after memory was given back
	few       = 1 << 20          // bytes, beside a portion of what is in use
	portion   = 16
)

// giveBack returns memory to the system each time when the program has come to rest: connections that are open and idle, of which there may be
// many, then take what they need, and not what opening them took.
func (g *gateway) giveBack() {
	debug.FreeOSMemory() // what the start has left
	next := time.NewTimer(lookEvery)
	defer next.Stop()
	for was := usageNow(); ; {
		select {
		case <-g.stopped:
			return
		case <-next.C:
		}
		now := usageNow()
		wait := lookEvery
		if now.restsSince(was) && now.isWorth() {
			debug.FreeOSMemory()
			debug.FreeOSMemory() // what pools hold survives one collection
			wait = pauseTime
		}
		was = now
		next.Reset(wait)
	}
}

// usage is what memory the program has, in bytes.
type usage struct {
	allocated uint64 // ever
	objects   uint64 // garbage among them
	live      uint64 // of objects, when the collector looked last
	free      uint64 // not returned
}

func usageNow() usage {
	samples := []gometrics.Sample{
		{Name: "/gc/heap/allocs:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}, {Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	gometrics.Read(samples)
	return usage{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()}
}

// restsSince reports whether the program has allocated little.
func (u usage) restsSince(was usage) bool { return u.allocated-was.allocated <= few+u.live/portion }

// isWorth reports whether there is enough to give back to be worth a collection.
func (u usage) isWorth() bool {
	garbage := u.objects - min(u.live, u.objects)
	return u.free+garbage > 2*few+u.live/portion
}
