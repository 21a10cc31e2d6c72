package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/router"
)

// drainage is the first half of the gateway's end, which operators begin; SIGTERM is the second. It happens once.
type drainage struct {
	once sync.Once
	done chan struct{} // closed when it is over
	left error         // what then was still there
}

// drain has readiness fail and what is new refused, ends streams and sessions over the window, and with them what they are registered for.
// What this machine itself asks for is still done.
func (g *gateway) drain() {
	defer close(g.drained.done)
	g.life.advance(draining)
	g.log.Info().Dur("window_ms", g.cfg.DrainWindow).Msg("draining")
	ctx, cancel := context.WithTimeout(context.Background(), g.cfg.DrainWindow+g.cfg.lastWords())
	defer cancel()
	ending := make(chan struct{})
	defer close(ending)
	g.serving.Go(func() {
		select {
		case <-g.stopped: // SIGTERM came
			cancel()
		case <-ending:
		}
	})
	var streams, sessions error
	var work sync.WaitGroup
	work.Go(func() { g.hooks.Withdraw() })
	work.Go(func() { streams = g.bridge.Withdraw(ctx, g.cfg.DrainWindow) })
	if g.router != nil {
		work.Go(func() { sessions = g.router.Drain(ctx, g.cfg.DrainWindow, isHere) })
	}
	work.Wait()
	if g.drained.left = errors.Join(streams, sessions); g.drained.left != nil {
		g.drained.left = errors.New("some streams or sessions are still there; they end with the gateway")
	}
	g.log.WithLevel(zerolog.InfoLevel).AnErr("left", g.drained.left).Msg("drained")
}

// isHere reports whether a peer is of this machine. That of a unix socket has no port.
func isHere(p router.Peer) bool { return isLoopbackPeer(p.Address) }

// serveDrain drains, and answers when that is done.
func (g *gateway) serveDrain(w http.ResponseWriter, r *http.Request) {
	g.drained.once.Do(func() { g.serving.Go(g.drain) })
	select {
	case <-g.drained.done:
	case <-r.Context().Done(): // it goes on
		return
	}
	if err := g.drained.left; err != nil {
		_, _ = fmt.Fprintln(w, "drained:", err)
		return
	}
	_, _ = fmt.Fprintln(w, "drained")
}

// askToDrain has the gateway that runs with the same settings drain, and waits for it.
func askToDrain(c *invocation) error {
	if len(c.args) > 0 {
		return subcommandUsage("drain")
	}
	cfg, err := loadAddress(c.environ)
	if err != nil {
		return err
	}
	if cfg.OpsAddr == "" {
		return fmt.Errorf("%s is not set: it is there that the gateway takes this", variable("OpsAddr"))
	}
	ctx, cancel := context.WithTimeout(context.Background(), cfg.DrainWindow+cfg.lastWords()+5*time.Second)
	defer cancel()
	return cfg.ask(ctx, http.MethodPost, "/drain", c.stdout)
}
