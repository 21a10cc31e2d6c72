package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/rs/zerolog"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// Why a hook cannot be made, changed or shown.
var (
	ErrNoHook         = errors.New("there is no such hook")
	ErrHookConfigured = errors.New("the hook is made by the gateway's configuration, and changed there alone")
	ErrTooManyHooks   = errors.New("there are as many hooks as there may be; delete one")
	ErrHookAnonymous  = errors.New("who makes hooks has to be authenticated")
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

// Origin is where a hook comes from.
type Origin string

// The origins.
const (
	MadeByREST          Origin = "rest"
	MadeByConfiguration Origin = "configuration"
	MadeByDiscovery     Origin = "discovery"
)

// Hooks let HTTP services answer calls and receive events. Each is a WAMP session of its principal. They live in memory.
type Hooks struct {
	cfg  HooksConfig
	ctx  context.Context // ends with Close: it is the lifetime of what work waits for
	stop context.CancelFunc
	work sync.WaitGroup

	mu     sync.Mutex
	hooks  map[hookKey]*hook
	busy   map[hookKey]chan struct{} // being made or ended; closed when that is done
	made   map[Principal]int         // by REST
	total  int                       // of them
	closed bool
}

// hookKey is what a hook is known by. Those that principals make are in a namespace of each.
type hookKey struct {
	owner Principal // of configured ones: the realm and role alone
	fixed bool      // configured or discovered
	name  string
}

// NewHooks returns none yet.
func NewHooks(cfg HooksConfig) *Hooks {
	hs := &Hooks{
		cfg: cfg.withDefaults(), hooks: map[hookKey]*hook{}, busy: map[hookKey]chan struct{}{}, made: map[Principal]int{},
	}
	hs.ctx, hs.stop = context.WithCancel(context.Background())
	return hs
}

var hookName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func checkHookName(name string) error {
	if !hookName.MatchString(name) {
		return badBody("the name of a hook is up to 64 letters, digits, dots, dashes and underscores, the first of them a letter or digit")
	}
	return nil
}

func fixedKey(p Principal, name string) hookKey {
	role := p.AuthRole
	if role == "" {
		role = "anonymous"
	}
	return hookKey{Principal{Realm: p.Realm, AuthRole: role}, true, name}
}

// ConfiguredHook is a hook of the gateway's configuration.
type ConfiguredHook struct {
	Principal

	Name string
	Spec HookSpec
}

// CheckHook reports whether a hook of the configuration can be made. Its error tells no secret.
func (e *Egress) CheckHook(h ConfiguredHook) error {
	if err := checkHookName(h.Name); err != nil {
		return err
	}
	_, err := h.Spec.check(e)
	return err
}

// Reconfigure makes the hooks of the configuration, and ends those that it has no more. What has not changed goes on. A hook works
// from when its realm and its service are there.
func (hs *Hooks) Reconfigure(all []ConfiguredHook) error {
	wanted := map[hookKey]bool{}
	for _, h := range all {
		wanted[fixedKey(h.Principal, h.Name)] = true
	}
	for _, h := range hs.all() {
		if h.origin == MadeByConfiguration && !wanted[h.key] {
			hs.remove(h.key, MadeByConfiguration)
		}
	}
	var errs []error
	for _, h := range all {
		if before := hs.fixed(h.Principal, h.Name); before != nil && before.origin == MadeByConfiguration && before.principal == h.Principal &&
			reflect.DeepEqual(before.spec, h.Spec) {
			continue
		}
		if err := hs.fix(h.Principal, h.Name, h.Spec, MadeByConfiguration); err != nil {
			errs = append(errs, fmt.Errorf("hook %s: %w", h.Name, err))
		}
	}
	return errors.Join(errs...)
}

func (hs *Hooks) fix(p Principal, name string, spec HookSpec, origin Origin) error {
	if err := checkHookName(name); err != nil {
		return err
	}
	e, err := spec.check(hs.cfg.Egress)
	if err != nil {
		return err
	}
	key := fixedKey(p, name)
	before, done, err := hs.take(context.Background(), key)
	if err != nil {
		return err
	}
	defer done()
	if before != nil && before.origin == MadeByConfiguration && origin == MadeByDiscovery {
		return ErrHookConfigured
	}
	h := newHook(hs, key, p, origin, e, hs.cfg.Egress)
	h.replace(before)
	h.start()
	hs.put(key, h)
	return nil
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

// take gives the caller a name to itself until done is called, and what has it now.
func (hs *Hooks) take(ctx context.Context, key hookKey) (h *hook, done func(), err error) {
	for {
		hs.mu.Lock()
		if hs.closed {
			hs.mu.Unlock()
			return nil, nil, ErrDraining
		}
		other := hs.busy[key]
		if other == nil {
			break
		}
		hs.mu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
	}
	defer hs.mu.Unlock()
	busy := make(chan struct{})
	hs.busy[key] = busy
	return hs.hooks[key], func() {
		hs.mu.Lock()
		defer hs.mu.Unlock()
		delete(hs.busy, key)
		close(busy)
	}, nil
}

// put keeps a hook, or none, under a name that was taken.
func (hs *Hooks) put(key hookKey, h *hook) {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if h == nil {
		delete(hs.hooks, key)
		return
	}
	hs.hooks[key] = h
}

// reserve counts one more hook of a principal, or, with n = -1, one less.
func (hs *Hooks) reserve(p Principal, n int) error {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	if n > 0 && (hs.made[p] >= hs.cfg.PerPrincipal || hs.total >= hs.cfg.Made) {
		return ErrTooManyHooks
	}
	hs.total += n
	if hs.made[p] += n; hs.made[p] == 0 {
		delete(hs.made, p)
	}
	return nil
}

// Put makes a hook with the rights of a principal, or replaces one of its own, and waits until the router has taken it. It
// reports whether there was none before. A hook that took the place of another goes on behind the last event that was delivered.
func (hs *Hooks) Put(ctx context.Context, p Principal, name string, spec HookSpec) (created bool, err error) {
	if err := checkHookName(name); err != nil {
		return false, err
	}
	if hs.cfg.NoAnonymous && p.AuthRole == "" {
		return false, ErrHookAnonymous
	}
	e, err := spec.check(hs.cfg.REST)
	if err != nil {
		return false, err
	}
	if hs.fixed(p, name) != nil {
		return false, ErrHookConfigured
	}
	key := hookKey{owner: p, name: name}
	before, done, err := hs.take(ctx, key)
	if err != nil {
		return false, err
	}
	defer done()
	if before == nil {
		if err := hs.reserve(p, 1); err != nil {
			return false, err
		}
	}
	h := newHook(hs, key, p, MadeByREST, e, hs.cfg.REST)
	h.replace(before) //nolint:contextcheck // it has its own time
	h.start()         //nolint:contextcheck // it outlives the request
	err = h.ready(ctx)
	if err != nil {
		hs.takeBack(h, before) //nolint:contextcheck // this, too
		return false, err
	}
	hs.put(key, h)
	return before == nil, nil
}

// takeBack ends a hook that the router has refused, and starts the one again that was there before it.
func (hs *Hooks) takeBack(h, before *hook) {
	h.endSoon()
	if before == nil {
		hs.put(h.key, nil)
		_ = hs.reserve(h.principal, -1)
		return
	}
	again := newHook(hs, before.key, before.principal, before.origin, before.endpoint, before.egress)
	again.resume(before)
	again.start()
	hs.put(h.key, again)
}

// Delete ends a hook. What it does at the moment is finished, or cut when ctx ends.
func (hs *Hooks) Delete(ctx context.Context, p Principal, name string) error {
	if hs.fixed(p, name) != nil {
		return ErrHookConfigured
	}
	key := hookKey{owner: p, name: name}
	h, done, err := hs.take(ctx, key)
	if err != nil {
		return err
	}
	defer done()
	if h == nil {
		return ErrNoHook
	}
	hs.put(key, nil)
	_ = hs.reserve(p, -1)
	return h.end(ctx)
}

// remove ends a hook that was configured, or discovered.
func (hs *Hooks) remove(key hookKey, origin Origin) {
	h, done, err := hs.take(context.Background(), key)
	if err != nil {
		return
	}
	defer done()
	if h != nil && h.origin == origin {
		hs.put(key, nil)
		h.endSoon()
	}
}

func (hs *Hooks) fixed(p Principal, name string) *hook {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return hs.hooks[fixedKey(p, name)]
}

// Status tells of one hook that a principal may see: its own, and those that are configured for its role.
func (hs *Hooks) Status(p Principal, name string) (HookStatus, error) {
	hs.mu.Lock()
	h := hs.hooks[hookKey{owner: p, name: name}]
	if h == nil {
		h = hs.hooks[fixedKey(p, name)]
	}
	hs.mu.Unlock()
	if h == nil {
		return HookStatus{}, ErrNoHook
	}
	return h.status(), nil
}

// List tells of all hooks that a principal may see, in the order of their names.
func (hs *Hooks) List(p Principal) []HookStatus {
	fixed := fixedKey(p, "").owner
	all := []HookStatus{}
	for _, h := range hs.all() {
		if h.key.owner == p && !h.key.fixed || h.key.fixed && h.key.owner == fixed {
			all = append(all, h.status())
		}
	}
	slices.SortFunc(all, func(a, b HookStatus) int { return strings.Compare(a.Name, b.Name) })
	return all
}

func (hs *Hooks) all() []*hook {
	hs.mu.Lock()
	defer hs.mu.Unlock()
	return slices.Collect(maps.Values(hs.hooks))
}

// Withdraw takes the procedures of all hooks back. Calls that are open go on, and so do the hooks of topics. There are no new hooks then.
func (hs *Hooks) Withdraw() {
	hs.mu.Lock()
	hs.closed = true
	hs.mu.Unlock()
	var work sync.WaitGroup
	for _, h := range hs.all() {
		if h.queue == nil {
			work.Go(h.takeBack)
		}
	}
	work.Wait()
}

// takeBack takes the hook's procedure back.
func (h *hook) takeBack() {
	h.mu.Lock()
	h.taken = true
	h.mu.Unlock()
	h.detach()
	h.poke() // where it was just being registered
}

// Close ends all hooks. Requests that are open may finish until ctx ends.
func (hs *Hooks) Close(ctx context.Context) error {
	hs.stop()
	hs.work.Wait()
	hs.mu.Lock()
	hs.closed = true
	busy := maps.Clone(hs.busy)
	hs.mu.Unlock()
	for _, done := range busy { // what is being made is there, or not, after that
		<-done
	}
	all := hs.all()
	errs := make([]error, len(all))
	var ending sync.WaitGroup
	for i, h := range all {
		ending.Go(func() { errs[i] = h.end(ctx) })
	}
	ending.Wait()
	hs.cfg.Egress.Close()
	hs.cfg.REST.Close()
	return errors.Join(errs...)
}

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
			h.disable(strings.TrimSpace("the router took it away; " + d.Reason))
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

// reconcile makes the hook known to the router, or unknown, as it should be. It returns why that is to be tried again.
func (h *hook) reconcile() error {
	h.mu.Lock()
	wanted := !h.taken && h.disabled == "" && (h.queue != nil || !h.sick && !h.appDown)
	standing, again := h.standing, h.attachedOnce
	h.mu.Unlock()
	var err error
	switch {
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
