package httpapi

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"golang.org/x/time/rate"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

type api struct {
	cfg       Config
	proxies   proxies
	limits    atomic.Pointer[Limits]
	auth      atomic.Pointer[Auth]
	ledger    *ledger
	watched   watched
	tickets   *tickets
	refused   counters
	answers   *answers
	errors    statuses
	inbound   map[string]*inbound
	crossbars crossbarCounters
	documents func() documents

	protection *http.CrossOriginProtection // of requests that change something
	foreigners rate.Sometimes              // a log that others fill is no use
}

func newAPI(cfg Config) (*api, error) {
	a := &api{
		cfg: cfg.withDefaults(), ledger: newLedger(), tickets: newTickets(), foreigners: rate.Sometimes{First: 10, Interval: time.Second},
	}
	a.inbound = newInbounds(a.cfg.Inbound)
	a.errors = newStatuses(a.cfg.Errors)
	a.answers = newAnswers(a.cfg.IdempotencyEntries, a.cfg.IdempotencyBytes, a.cfg.IdempotencyAge)
	a.reconfigure(cfg.Auth, cfg.Limits)
	var err error
	a.proxies, err = parseProxies(cfg.TrustedProxies)
	return a, err
}

func (a *api) reconfigure(auth Auth, limits Limits) {
	limits = limits.withDefaults(a.cfg.MaxBody)
	a.auth.Store(&auth)
	a.limits.Store(&limits)
}

// New returns the HTTP face.
func New(cfg Config) (*Handler, error) {
	a, err := newAPI(cfg)
	if err != nil {
		return nil, err
	}
	a.documents = sync.OnceValue(func() documents { // nobody may ask, and it takes as much as all else of the start
		d, err := newDocuments(cfg.OpenAPI, cfg.Routes)
		if err != nil {
			cfg.Log.Error().Err(err).Msg("the OpenAPI document is not whole")
		}
		return d
	})
	routes := a.routes()
	if err := a.mount(routes); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	guarded, err := a.origins(routes)
	if err != nil {
		return nil, err
	}
	return &Handler{a.around(guarded), a}, nil
}

// Ops returns the probes and metrics alone, for a listener of their own.
func Ops(cfg Config) http.Handler {
	a := &api{cfg: cfg.withDefaults(), tickets: newTickets()}
	r := chi.NewRouter()
	r.Use(headed)
	a.probes(r)
	return r
}

// routes is all that there is.
func (a *api) routes() chi.Router {
	r := chi.NewRouter()
	r.Use(routed, headed)
	r.NotFound(a.handler(func(_ http.ResponseWriter, r *http.Request) error {
		return newProblem(http.StatusNotFound, "there is no "+r.URL.Path+"; see /openapi.yaml")
	}))
	r.MethodNotAllowed(a.handler(func(_ http.ResponseWriter, req *http.Request) error {
		return methodNotAllowed(r, req)
	}))
	for _, prefix := range []string{"/v1", "/v1/realms/{realm}"} {
		r := r.With(a.admitted, a.identified)
		r.Post(prefix+"/call/{procedure}", a.handler(a.call))
		r.Post(prefix+"/call", a.handler(a.callEach))
		r.Post(prefix+"/publish/{topic}", a.handler(a.publish))
		r.Post(prefix+"/publish", a.handler(a.publishEach))
		r.Get(prefix+"/subscribe/{topic}", a.handler(a.subscribe))
		r.Get(prefix+"/subscribe", a.handler(a.subscribe))
		r.With(a.sameOrigin).Get(prefix+"/register/{procedure}", a.handler(a.register))
		r.Post(prefix+"/yield/{invocation}", a.handler(a.yield))
		r.Post(prefix+"/error/{invocation}", a.handler(a.fail))
		r.Post(prefix+"/ticket", a.handler(a.ticket))
		r.Get(prefix+"/sessions", a.handler(a.sessions))
		r.Get(prefix+"/sessions/{id}", a.handler(a.described(a.cfg.Bridge.Session)))
		r.Delete(prefix+"/sessions/{id}", a.handler(a.kill))
		r.Get(prefix+"/registrations", a.handler(a.entries(bridge.Registrations)))
		r.Get(prefix+"/registrations/{id}", a.handler(a.entry(bridge.Registrations)))
		r.Get(prefix+"/subscriptions", a.handler(a.entries(bridge.Subscriptions)))
		r.Get(prefix+"/subscriptions/{id}", a.handler(a.entry(bridge.Subscriptions)))
		r.Get(prefix+"/retained/{topic}", a.handler(a.retained))
		r.Get(prefix+"/history/{topic}", a.handler(a.history))
		if a.cfg.Hooks != nil {
			r.Get(prefix+"/hooks", a.handler(a.hooks))
			r.Get(prefix+"/hooks/{name}", a.handler(a.hook))
			r.Put(prefix+"/hooks/{name}", a.handler(a.putHook))
			r.Delete(prefix+"/hooks/{name}", a.handler(a.deleteHook))
		}
	}
	a.native(r)
	r.With(a.admitted).Post("/v1/inbound/{name}", a.handler(a.webhook)) // whose signature says who it is from
	r.Get("/openapi.yaml", a.openAPI)
	r.With(realmOf(liveRealm), a.identifiedIf).Get("/openapi.json", a.handler(a.openAPIJSON))
	if !a.cfg.OpsElsewhere {
		a.probes(r)
	}
	return r
}

// native are the ways in for native clients.
func (a *api) native(r chi.Router) {
	if a.cfg.WebSocket != nil {
		r.With(a.admitted).Get("/ws", a.handler(a.webSocket))
	}
	if a.cfg.LongPoll != nil {
		r.With(a.admitted).Post("/longpoll/open", a.cfg.LongPoll.ServeHTTP)
		for _, action := range []string{"receive", "send", "close"} {
			r.Post("/longpoll/{transport}/"+action, a.cfg.LongPoll.ServeHTTP)
		}
	}
}

func (a *api) probes(r chi.Router) {
	r.Get("/livez", a.probe(func() error { return nil }))
	r.Get("/readyz", a.probe(a.cfg.Ready))
	r.Get("/startupz", a.probe(a.cfg.Started))
	if a.cfg.Metrics != nil {
		r.Get("/metrics", a.cfg.Metrics.ServeHTTP)
	}
}

func (a *api) probe(why func() error) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if err := why(); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("not ready: " + err.Error() + "\n"))
			return
		}
		_, _ = w.Write([]byte("ok\n"))
	}
}

// handler answers a handler's error with a problem.
func (a *api) handler(h func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		err := h(w, r)
		if err == nil {
			return
		}
		p := a.asked(r, asProblem(err))
		if p.Status == http.StatusInternalServerError && p.WAMP == nil {
			a.cfg.Log.Error().Err(err).Str("request_id", requestID(r)).Msg("request failed")
		}
		a.refused[p.refusal].Add(1)
		p.write(w, r)
	}
}

// asked gives an application's error the status that is configured, and has an anonymous client that may not do something say who it
// is.
func (a *api) asked(r *http.Request, p *problem) *problem {
	a.errors.apply(p)
	if p.WAMP == nil {
		return p
	}
	who, ways := requesterOf(r), len(a.auth.Load().Methods) > 0
	stranger := who.Realm != "" && who.AuthRole == "" && p.WAMP.Error.Reserved()
	if stranger && ways && p.Status == http.StatusForbidden && meanings[p.WAMP.Error].title == meanings[wampcore.ErrNotAuthorized].title {
		p.Status = http.StatusUnauthorized
	}
	unasked := p.Status == http.StatusUnauthorized && ways                // it has not said who it is
	unheard := p.Status == http.StatusForbidden && sentCredentials(r) > 0 // it has, where nobody listens
	if stranger && (unasked || unheard) {
		p.Detail = strings.TrimPrefix(p.Detail+"; ", "; ") + a.teach()
	}
	if p.Status == http.StatusUnauthorized {
		p.header["Www-Authenticate"] = a.challenges(r, notRefused)
	}
	return p
}

// Routes lists what New routes, as "METHOD /path", for those who describe it.
func Routes(cfg Config) ([]string, error) {
	a := &api{cfg: cfg.withDefaults()}
	var all []string
	err := chi.Walk(a.routes(), func(method, path string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		all = append(all, method+" "+path)
		return nil
	})
	return all, err
}
