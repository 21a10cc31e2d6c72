package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// hook is an HTTP endpoint that answers calls, or is sent events.
type hook struct {
	// Set before start, never changed after.
	*endpoint

	hooks     *Hooks
	key       hookKey
	principal Principal
	origin    Origin
	egress    *Egress
	log       zerolog.Logger
	breaker   *breaker // of a procedure
	queue     *inbox   // of a topic
	first     chan error
	wake      chan struct{} // of size 1: attach has to look at something
	attached  chan struct{} // of size 1: it is registered, or subscribed, now
	redial    *client.Redialer
	stopped   context.Context // ends when nothing more is begun; both are the hook's lifetime
	stop      context.CancelFunc
	killed    context.Context // ends when what is going on is cut
	kill      context.CancelFunc

	run      sync.WaitGroup
	past     past // of a topic; owned by deliver
	counters hookCounters

	mu           sync.Mutex
	standing     *client.Standing // nil: it is not registered, or subscribed
	sick         bool             // the service is not well
	appDown      bool             // the one that published the hook is not there
	taken        bool             // back, for good: the gateway drains
	refused      error            // why it is not registered, or subscribed
	attachedOnce bool             // it was registered, or subscribed, before
	disabled     string           // why it never will be
	failures     []HookFailure    // the newest last
}

func newHook(hs *Hooks, key hookKey, p Principal, origin Origin, e *endpoint, egress *Egress) *hook {
	h := &hook{
		endpoint: e, hooks: hs, key: key, principal: p, origin: origin, egress: egress,
		log:   hs.cfg.Log.With().Str("hook", key.name).Str("realm", string(p.Realm)).Logger(),
		first: make(chan error, 1), wake: make(chan struct{}, 1), attached: make(chan struct{}, 1), sick: e.health != nil,
	}
	h.stopped, h.stop = context.WithCancel(context.Background())
	h.killed, h.kill = context.WithCancel(context.Background())
	if h.Topic != "" {
		h.queue, h.past.at = newInbox(hs.cfg.QueueEvents, hs.cfg.QueueBytes), time.Now()
		return h
	}
	h.breaker = newBreaker(h, hs.cfg.BreakAfter, hs.cfg.BreakFor)
	return h
}

// resume goes on where another hook has ended, if it was for the same events.
func (h *hook) resume(before *hook) {
	if h.queue != nil && h.Topic == before.Topic && h.match == before.match {
		h.past = before.past
		h.queue.readOn()
	}
}

// start opens the hook's session and begins to work.
func (h *hook) start() {
	session := h.hooks.cfg.Login.session(h.principal)
	session.Concurrency, session.Backlog = h.Concurrency, h.Queue
	cfg := client.RedialConfig{
		Dial:    func(ctx context.Context) (wampcore.Transport, error) { return h.hooks.cfg.Dial(ctx, h.principal) },
		Session: session,
		Timeout: joinTimeout,
		OnDown:  func(err error) { h.log.Debug().Err(err).Msg("a hook has no session") },
		OnRestored: func(_ *client.Standing, err error) {
			h.setRefused(err)
			if h.queue != nil && err == nil {
				h.queue.readOn() // events may have been missed
			}
		},
		OnRevoked: func(_ *client.Standing, d wampcore.RevokedDetails) {
			if h.origin == MadeByREST {
				h.disable(strings.TrimSpace("the router took it away; " + d.Reason))
				return
			}
			// What the configuration says, it says for good: when it may again, it is there again.
			h.log.Warn().Str("reason", d.Reason).Msg("the router took a hook away; it is tried again")
			h.poke()
		},
	}
	h.log.Info().Str("origin", string(h.origin)).Str("procedure", string(h.Procedure)).Str("topic", string(h.Topic)).Msg("a hook begins")
	h.redial = client.Redial(cfg)
	h.run.Go(h.attach)
	if h.queue != nil {
		h.run.Go(h.deliver)
	}
}

// ready waits until the router has taken the hook, or refused it. A service that is not well yet is no reason to wait.
func (h *hook) ready(ctx context.Context) error {
	select {
	case err := <-h.first:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// end finishes what is going on, and cuts it when ctx ends.
func (h *hook) end(ctx context.Context) error {
	h.stop()
	cut := context.AfterFunc(ctx, h.kill)
	defer cut()
	h.run.Wait()
	err := h.redial.Close(ctx)
	h.kill()
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return nil // it was cut, as was asked for
	}
	return err
}

const (
	attachRetry    = time.Second // grows to
	attachRetryMax = time.Minute
	detachTimeout  = 5 * time.Second
	sickAfter      = 2 // health checks that fail, one after another
)

// attach registers the procedure, or subscribes to the topic, while the service is well.
func (h *hook) attach() {
	retry := &backoff.ExponentialBackOff{
		InitialInterval: attachRetry, MaxInterval: attachRetryMax, Multiplier: 2, RandomizationFactor: 0.5,
	}
	unwell := sickAfter - 1 // the first check decides
	for h.stopped.Err() == nil {
		if h.health != nil {
			h.checkHealth(&unwell)
		}
		wait := time.Duration(-1)
		if err := h.reconcile(); err != nil {
			wait = retry.NextBackOff()
		} else {
			retry.Reset()
		}
		if h.health != nil && (wait < 0 || time.Duration(h.HealthInterval) < wait) {
			wait = time.Duration(h.HealthInterval)
		}
		h.pause(wait)
	}
	h.detach()
}

// pause waits for a while, without end if that is negative, or until there is something to do.
func (h *hook) pause(d time.Duration) {
	var over <-chan time.Time
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
	case <-h.wake:
	case <-h.stopped.Done():
	}
}

var errTakenAway = errors.New("the router took it away")

// reconcile makes the hook known to the router, or unknown, as it should be. It returns why that is to be tried again.
func (h *hook) reconcile() error {
	h.mu.Lock()
	wanted := !h.taken && h.disabled == "" && (h.queue != nil || !h.sick && !h.appDown)
	standing, again := h.standing, h.attachedOnce
	h.mu.Unlock()
	var err error
	switch {
	case wanted && standing != nil && standing.Revoked():
		h.detach()
		err = errTakenAway
		h.setRefused(err)
	case wanted && standing == nil:
		standing, err = h.register()
		if h.stopped.Err() != nil && standing == nil {
			return err
		}
		h.mu.Lock()
		h.standing, h.attachedOnce = standing, again || err == nil
		h.mu.Unlock()
		h.setRefused(err)
		if h.queue != nil && again && err == nil {
			h.queue.readOn() // events may have been missed
		}
		signal(h.attached)
	case !wanted && standing != nil:
		h.detach()
	}
	select {
	case h.first <- err:
	default:
	}
	return err
}

// register waits for the hook's first session, and does not wait for another.
func (h *hook) register() (*client.Standing, error) {
	ctx, cancel := context.WithTimeout(h.stopped, 2*joinTimeout)
	defer cancel()
	if _, err := h.redial.Ready(ctx); err != nil {
		if refusal, ok := errors.AsType[*wampcore.Error](err); ok {
			return nil, refusal
		}
		return nil, err
	}
	if h.queue != nil {
		return h.redial.Subscribe(ctx, h.Topic, h.receive, wampcore.SubscribeOptions{Match: h.match})
	}
	return h.redial.Register(ctx, h.Procedure, h.answer,
		wampcore.RegisterOptions{Match: h.match, Invoke: h.invoke, ForwardTimeout: true})
}

// detach takes the procedure, or the subscription, back. Calls that are open go on.
func (h *hook) detach() {
	h.mu.Lock()
	standing := h.standing
	h.standing = nil
	h.mu.Unlock()
	if standing == nil {
		return
	}
	ctx, cancel := context.WithTimeout(h.killed, detachTimeout)
	defer cancel()
	if err := standing.End(ctx); err != nil {
		h.log.Debug().Err(err).Msg("a hook was not taken back")
	}
}

// checkHealth asks the service how it is.
func (h *hook) checkHealth(unwell *int) {
	if err := h.askHealth(); err == nil {
		*unwell = 0
	} else if *unwell++; *unwell >= sickAfter {
		h.setSick(err)
		return
	}
	if *unwell == 0 {
		h.setSick(nil)
	}
}

const healthTimeout = 5 * time.Second

func (h *hook) askHealth() error {
	ctx, cancel := context.WithTimeout(h.stopped, healthTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.health.String(), nil)
	if err != nil {
		return err
	}
	if h.health.Host == h.url.Host { // what is in the headers may be for the service alone
		h.dress(req)
	}
	res, err := h.egress.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer func() { drain(res.Body) }()
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("the health check answers %d", res.StatusCode)
	}
	return nil
}

func (h *hook) setSick(why error) {
	h.mu.Lock()
	changed := h.sick != (why != nil)
	h.sick = why != nil
	h.mu.Unlock()
	switch {
	case changed && why != nil:
		h.log.Warn().Err(why).Msg("a hook's service is not well")
	case changed:
		h.log.Info().Msg("a hook's service is well")
	}
}

// setAppDown says whether the service that published the hook is there. Events wait for it as for any service.
func (h *hook) setAppDown(down bool) {
	h.mu.Lock()
	changed := h.appDown != down
	h.appDown = down
	h.mu.Unlock()
	if changed {
		h.poke()
	}
}

func (h *hook) setRefused(err error) {
	h.mu.Lock()
	changed := (h.refused == nil) != (err == nil)
	h.refused = err
	h.mu.Unlock()
	if changed && err != nil && h.stopped.Err() == nil {
		h.log.Warn().Err(err).Msg("the router does not take a hook")
	}
}

// disable ends the hook's work for good: what has it again is another.
func (h *hook) disable(why string) {
	h.mu.Lock()
	h.disabled = why
	h.mu.Unlock()
	h.log.Warn().Str("reason", why).Msg("a hook is disabled")
	h.poke()
}

func (h *hook) poke() { signal(h.wake) }

// signal sends on a channel of size 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// replaceGrace is how long what a hook does may take when another comes into its place.
const replaceGrace = 5 * time.Second

// replace ends the hook whose place h takes.
func (h *hook) replace(before *hook) {
	if before == nil {
		return
	}
	before.endSoon()
	h.resume(before)
}

// endSoon ends the hook, in good order if that does not take long.
func (h *hook) endSoon() {
	ctx, cancel := context.WithTimeout(context.Background(), replaceGrace)
	defer cancel()
	if err := h.end(ctx); err != nil {
		h.log.Debug().Err(err).Msg("a hook's session did not end in good order")
	}
}

// takeBack takes the hook's procedure back.
func (h *hook) takeBack() {
	h.mu.Lock()
	h.taken = true
	h.mu.Unlock()
	h.detach()
	h.poke() // where it was just being registered
}
