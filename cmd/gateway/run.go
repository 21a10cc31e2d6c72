package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/rs/zerolog"
)

var errCut = errors.New("cut short by a second signal")

// run serves until ctx ends, and then shuts down; stop lets a second signal through, which cuts that short.
func run(ctx context.Context, stop func(), hangup <-chan os.Signal, cfg config, t *tracer, log zerolog.Logger) error {
	limitMemory(log)
	g, err := newGateway(cfg, t, log) //nolint:contextcheck // the session with a router elsewhere ends by shutdown
	if err != nil {
		return err
	}
	g.hangup = hangup
	if signals := levelSignals(); len(signals) > 0 {
		level := make(chan os.Signal, 1)
		signal.Notify(level, signals...)
		defer signal.Stop(level)
		g.serving.Go(func() { g.levels.watch(level, g.stopped) })
	}
	if err := g.listen(ctx); err != nil {
		return errors.Join(err, g.shutdown(ctx))
	}
	g.serving.Go(g.watch)
	g.serving.Go(g.giveBack)
	g.life.advance(serving)
	select {
	case <-ctx.Done():
	case err = <-g.failed:
	}
	second := make(chan os.Signal, 1)
	signal.Notify(second, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(second)
	stop() // not before: a signal in between would kill
	log.Info().Msg("shutting down")
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.ShutdownTimeout)
	defer cancel()
	grace, cut := context.WithCancelCause(grace)
	defer cut(nil)
	watching, unwatch := context.WithCancel(grace)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-second:
			cut(errCut)
		case <-watching.Done():
		}
	})
	err = errors.Join(err, g.shutdown(grace))
	unwatch()
	watch.Wait()
	return err
}
