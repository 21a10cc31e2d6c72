package main

import (
	"log/slog"
	"math"

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
