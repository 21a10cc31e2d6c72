package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/wampgate/wampgate/bridge"
)

// watched are the streams that are open, and how to end them.
type watched struct {
	mu   sync.Mutex
	open map[*requester]context.CancelCauseFunc
}

// add returns the context of a stream, which ends with its credentials, and when remove is called. It has no deadline: that of a call
// would be told its callee. The timer knows the requester alone: one that was stopped may still be kept, and would keep the request.
func (w *watched) add(ctx context.Context, who *requester) context.Context {
	ctx, cancel := context.WithCancelCause(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.open == nil {
		w.open = map[*requester]context.CancelCauseFunc{}
	}
	w.open[who] = cancel
	switch left := time.Until(who.expires); {
	case who.expires.IsZero():
	case left <= 0:
		cancel(errExpired)
	default:
		who.expiry = time.AfterFunc(left, func() { w.end(who, errExpired) })
	}
	return ctx
}

// watch returns a request whose context ends with its credentials, as a stream's does.
func (a *api) watch(r *http.Request) *http.Request {
	who := requesterOf(r)
	who.source = credentialsOf(who.source)
	return r.WithContext(a.lasting(r.Context(), who))
}

// lasting returns the context of what goes on until its credentials end. Where these were looked at before Reconfigure, and it is open
// after that, they are looked at again: Reconfigure did not see it.
func (a *api) lasting(ctx context.Context, who *requester) context.Context {
	judged := who.judged
	who.judged = nil // what was before Reconfigure is not kept for it
	ctx = a.watched.add(ctx, who)
	if a.auth.Load() != judged && !a.stillCounts(who) {
		a.watched.end(who, errRevoked)
	}
	return ctx
}

// takeOver notes that a requester's stream goes on when its request's handler has returned. The context is of no use then, and kept it
// would keep the request.
func (w *watched) takeOver(who *requester, s *bridge.Stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	who.stream = s
	w.open[who](nil)
	w.open[who] = func(why error) { s.End(fmt.Errorf("%w: %w", bridge.ErrExpired, why)) }
}

// end ends what is open, which is the stream, or what it is before it begins.
func (w *watched) end(who *requester, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end := w.open[who]; end != nil {
		end(why)
	}
}

func (w *watched) remove(who *requester) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if who.expiry != nil {
		who.expiry.Stop()
	}
	if who.stream == nil && w.open[who] != nil {
		w.open[who](nil)
	}
	delete(w.open, who)
}

// over is called when a request is over, or the stream that it has begun.
func (a *api) over(who *requester) {
	a.watched.remove(who)
	who.release()
}

// nobody is a request without credentials.
var nobody = &http.Request{URL: new(url.URL), Header: http.Header{}} //nolint:gochecknoglobals // never changed

// credentialsOf returns a request that has the credentials of another, and nothing else: a stream keeps it for as long as it is open.
func credentialsOf(r *http.Request) *http.Request {
	header := http.Header{}
	for _, name := range []string{"Authorization", apiKeyHeader} {
		if values := r.Header.Values(name); len(values) > 0 {
			header[http.CanonicalHeaderKey(name)] = values
		}
	}
	if len(header) == 0 && r.TLS == nil {
		return nobody
	}
	return &http.Request{URL: nobody.URL, Header: header, TLS: r.TLS, RemoteAddr: r.RemoteAddr}
}

func (w *watched) all() []*requester {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Collect(maps.Keys(w.open))
}

// farewellOf returns why the gateway ends a stream, empty if it does not.
func farewellOf(r *http.Request) farewell {
	f, _ := errors.AsType[farewell](context.Cause(r.Context()))
	return f
}

// parted returns why a call ended, which is a farewell if the gateway has ended it.
func parted(r *http.Request, err error) error {
	if why := farewellOf(r); why != "" && errors.Is(err, context.Canceled) {
		return why
	}
	return err
}

// Reconfigure replaces who requests are from and what they may take, from now on. Streams, and tickets, whose credentials do not
// count any more end: streams with wamp.bye. So do the hooks of principals that no method knows any more.
func (h *Handler) Reconfigure(auth Auth, limits Limits) {
	h.a.reconfigure(auth, limits)
	h.a.tickets.retain(h.a.stillCounts)
	for _, who := range h.a.watched.all() {
		if !h.a.stillCounts(who) {
			h.a.watched.end(who, errRevoked)
		}
	}
	if h.a.cfg.Hooks != nil {
		h.a.cfg.Hooks.Retain(h.a.known)
	}
}

// known reports whether requests can still be from a principal, as far as can be told without its credentials. Who may come in as
// anonymous is for the router to say.
func (a *api) known(p bridge.Principal) bool {
	return p.AuthRole == "" || slices.ContainsFunc(a.auth.Load().Methods, func(m Method) bool {
		k, ok := m.(Recognizer)
		return !ok || k.Recognizes(p, a.cfg.Realm)
	})
}

// stillCounts reports whether a requester's credentials are still its own. What cannot be told now counts.
func (a *api) stillCounts(who *requester) bool {
	now, err := a.requester(who.source, who.Realm, func(r *http.Request) (*Grant, error) { return a.judge(r, sentCredentials(r)) })
	if p, ok := errors.AsType[*problem](err); ok {
		return !slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden}, p.Status)
	}
	return now.Principal == who.Principal
}
