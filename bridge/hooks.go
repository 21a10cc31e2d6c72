package bridge

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// Why a hook cannot be made, changed or shown.
var (
	ErrNoHook         = errors.New("there is no such hook")
	ErrHookConfigured = errors.New("the hook is made by the gateway's configuration, and changed there alone")
	ErrTooManyHooks   = errors.New("there are as many hooks as there may be; delete one")
	ErrHookAnonymous  = errors.New("who makes hooks has to be authenticated")
	ErrHookOrphan     = errors.New("the configuration does not have any more who makes the hook")
)

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
	keep   func(Principal) bool      // of Retain; nil: everybody may have some
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

// Reconfigure makes the hooks of the configuration, and ends those that it has no more. What has not changed goes on; what the router has
// refused or taken away is tried again now. A hook works from when its realm and its service are there.
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
			before.poke() // it may be allowed now
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

// put keeps a hook, or none, under a name that was taken. What Withdraw does not see since it is made meanwhile is taken back here.
//
//nolint:contextcheck // that has its own time
func (hs *Hooks) put(key hookKey, h *hook) {
	hs.mu.Lock()
	closed := hs.closed
	if h == nil {
		delete(hs.hooks, key)
	} else {
		hs.hooks[key] = h
	}
	hs.mu.Unlock()
	if closed && h != nil && h.queue == nil {
		h.takeBack()
	}
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
	key := hookKey{owner: p, name: name}
	before, done, err := hs.take(ctx, key)
	if err != nil {
		return false, err
	}
	defer done()
	if before == nil {
		if hs.fixed(p, name) != nil {
			return false, ErrHookConfigured
		}
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
	if !hs.kept(p) { // Retain has not seen it
		hs.put(key, nil)
		_ = hs.reserve(p, -1)
		h.endSoon() //nolint:contextcheck // this, too
		return false, ErrHookOrphan
	}
	return before == nil, nil
}

// kept reports whether a principal may have hooks.
func (hs *Hooks) kept(p Principal) bool {
	hs.mu.Lock()
	keep := hs.keep
	hs.mu.Unlock()
	return keep == nil || keep(p)
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
	key := hookKey{owner: p, name: name}
	h, done, err := hs.take(ctx, key)
	if err != nil {
		return err
	}
	defer done()
	if h == nil && hs.fixed(p, name) != nil {
		return ErrHookConfigured
	}
	if h == nil {
		return ErrNoHook
	}
	hs.put(key, nil)
	_ = hs.reserve(p, -1)
	return h.end(ctx)
}

// Retain ends the hooks that principals have made of whom keep says that there is nobody any more, also those that are being made.
func (hs *Hooks) Retain(keep func(Principal) bool) {
	hs.mu.Lock()
	hs.keep = keep
	hs.mu.Unlock()
	var ending sync.WaitGroup
	for _, h := range hs.all() {
		if h.origin == MadeByREST && !keep(h.principal) {
			h.log.Info().Str("authid", h.principal.AuthID).Msg("a hook ends, since there is nobody any more who has made it")
			ending.Go(func() { hs.remove(h.key, MadeByREST) })
		}
	}
	ending.Wait()
}

// remove ends a hook of this origin.
func (hs *Hooks) remove(key hookKey, origin Origin) {
	h, done, err := hs.take(context.Background(), key)
	if err != nil {
		return
	}
	defer done()
	if h != nil && h.origin == origin {
		hs.put(key, nil)
		if origin == MadeByREST {
			_ = hs.reserve(h.principal, -1)
		}
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
