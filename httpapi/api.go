package httpapi

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// Config says what is served. Bridge and Realm are required.
type Config struct {
	Bridge    *bridge.Bridge
	Hooks     *bridge.Hooks // optional
	Realm     wampcore.URI  // of the routes that name none
	WebSocket http.Handler  // for GET /ws; optional
	LongPoll  http.Handler  // for POST /longpoll/…; optional
	Auth      Auth          // who requests are from; default: everybody is anonymous
	Limits    Limits        // of what requests may take
	OpenAPI   []byte        // the document in YAML
	Ready     func() bool   // for /readyz; default: always
	Started   func() bool   // for /startupz; default: always
	Draining  func() bool   // whether new requests from elsewhere are refused; default: never
	Metrics   http.Handler  // for /metrics; optional
	Observer  Observer      // is told of every request; optional
	Log       zerolog.Logger
	AccessLog bool // requests are logged at level info, not debug

	// TrustedProxies are the addresses and networks whose X-Forwarded-For is believed, or UnixProxies: what is counted and logged by
	// address is the client's then. Default: nobody's.
	TrustedProxies []string

	Inbound  map[string]Inbound  // webhooks that are published, by name
	Crossbar map[string]Crossbar // endpoints that are compatible with Crossbar.io's, by path
	Routes   []Route             // requests that are calls

	OpsElsewhere   bool          // the probes and metrics are served by Ops, not by New
	Hosts          []string      // names that requests may be for, beside localhost and IP addresses; *.example.com covers subdomains
	Origins        []string      // of other sites, whose pages may send requests, read the answers (CORS), and open WebSockets
	Credentials    bool          // the browser's own may come with those: client certificates, Basic
	MaxBody        int64         // bytes; default 16 MiB
	BodyTimeout    time.Duration // for a request's body to come; default 30 s
	UnreadTimeout  time.Duration // for the rest of one that nobody reads; default 10 s
	CallTimeout    time.Duration // where a request gives none; default 30 s
	MaxCallTimeout time.Duration // default 10 min
	Heartbeat      time.Duration // of event streams; default 15 s
	WriteTimeout   time.Duration // of one write to an event stream; default 10 s

	// Errors are the statuses of applications' errors: the exact URI counts, else the longest prefix, else the first wildcard. Those that
	// none of them is for have 422. A callee's http_status wins.
	Errors []ErrorStatus

	// Answers to requests with an Idempotency-Key that are kept for those who ask again. One principal has a quarter of that.
	IdempotencyAge     time.Duration // how long; default 10 min
	IdempotencyEntries int           // default 10,000
	IdempotencyBytes   int           // default 32 MiB
}

func (c Config) withDefaults() Config {
	if c.Ready == nil {
		c.Ready = func() bool { return true }
	}
	if c.Started == nil {
		c.Started = func() bool { return true }
	}
	if c.Draining == nil {
		c.Draining = func() bool { return false }
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 16 << 20
	}
	if c.IdempotencyEntries <= 0 {
		c.IdempotencyEntries = 10_000
	}
	if c.IdempotencyBytes <= 0 {
		c.IdempotencyBytes = 32 << 20
	}
	for _, d := range []struct {
		v   *time.Duration
		def time.Duration
	}{
		{&c.BodyTimeout, 30 * time.Second},
		{&c.UnreadTimeout, 10 * time.Second},
		{&c.CallTimeout, 30 * time.Second},
		{&c.MaxCallTimeout, 10 * time.Minute},
		{&c.Heartbeat, 15 * time.Second},
		{&c.WriteTimeout, 10 * time.Second},
		{&c.IdempotencyAge, 10 * time.Minute},
	} {
		if *d.v <= 0 {
			*d.v = d.def
		}
	}
	return c
}

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
	r.Post("/v1/inbound/{name}", a.handler(a.webhook)) // whose signature says who it is from
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
	r.Get("/livez", a.probe(func() bool { return true }))
	r.Get("/readyz", a.probe(a.cfg.Ready))
	r.Get("/startupz", a.probe(a.cfg.Started))
	if a.cfg.Metrics != nil {
		r.Get("/metrics", a.cfg.Metrics.ServeHTTP)
	}
}

func (a *api) probe(ok func() bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if !ok() {
			w.WriteHeader(http.StatusServiceUnavailable)
			_, _ = w.Write([]byte("not ready\n"))
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
	who := requesterOf(r)
	if who.Realm != "" && who.AuthRole == "" && p.WAMP != nil && p.Status == http.StatusForbidden && len(a.auth.Load().Methods) > 0 &&
		meanings[p.WAMP.Error].title == meanings[wampcore.ErrNotAuthorized].title {
		p.Status = http.StatusUnauthorized
	}
	if p.WAMP != nil && p.Status == http.StatusUnauthorized {
		p.header["Www-Authenticate"] = a.challenges(r, notRefused)
	}
	return p
}

// around does what all requests have in common: an id, the host check, the log, and a panic that costs one request only.
func (a *api) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		facts := &facts{Context: r.Context(), rec: recorder{ResponseWriter: w}, id: r.Header.Get("X-Request-Id"), began: time.Now()}
		if !sane(facts.id) {
			facts.id = newRequestID()
		}
		facts.ids[0] = facts.id
		h := w.Header()
		h["X-Request-Id"] = facts.ids[:]
		h["Referrer-Policy"] = noReferrer // addresses may have tickets
		h["X-Content-Type-Options"] = noSniff
		r = r.WithContext(facts) //nolint:contextcheck // they go on with the request's own
		r.RemoteAddr = a.proxies.client(r)
		if a.cfg.Observer != nil {
			r = a.cfg.Observer.Begin(r)
		}
		rec := &facts.rec
		a.boundUnread(rec, r)
		defer a.ended(r, facts, rec)
		defer func() {
			if v := recover(); v != nil {
				if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(v) // net/http's own way to cut an answer
				}
				a.cfg.Log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Str("request_id", facts.id).Msg("request panicked")
				if rec.status == 0 {
					newProblem(http.StatusInternalServerError, "internal error").write(rec, r)
				}
			}
			a.boundUnread(rec, r)
		}()
		if !a.hostAllowed(r.Host) {
			a.refused[refusedHost].Add(1)
			newProblem(http.StatusMisdirectedRequest,
				"the host "+r.Host+" is not one that this gateway answers for; name it in WAMPGATE_HOSTS").write(rec, r)
			return
		}
		if p := tooLarge(r); p != nil {
			a.refused[refusedHeaders].Add(1)
			p.write(rec, r)
			return
		}
		facts.serve(next, r)
	})
}

// serve has a request answered.
func (f *facts) serve(next http.Handler, r *http.Request) {
	if staysWith(r) {
		aside(func() { next.ServeHTTP(&f.rec, r) })
	} else {
		next.ServeHTTP(&f.rec, r)
	}
	if f.goOn != nil {
		f.goOn()
	}
}

// staysWith reports whether net/http's goroutine will have to stay with a request's stream. What the handlers take of its stack would
// not be given back meanwhile.
func staysWith(r *http.Request) bool {
	return (r.ProtoMajor > 1 || r.TLS != nil) && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/subscribe")
}

// aside calls f on another goroutine, and panics as it does.
func aside(f func()) {
	panicked := make(chan any, 1)
	go func() {
		defer func() { panicked <- recover() }()
		f()
	}()
	if v := <-panicked; v != nil {
		panic(v)
	}
}

func newRequestID() string {
	const digits = "0123456789abcdef"
	var b [14]byte
	id := uint64(wampcore.NewID())
	for i := range b {
		b[i] = digits[id>>(4*(len(b)-1-i))&15]
	}
	return string(b[:])
}

// boundUnread bounds the time for a body that nobody reads, or its rest: net/http waits for that before it writes an answer,
// and again before it looks for another request. Who reads a body sets its own time.
func (a *api) boundUnread(w *recorder, r *http.Request) {
	switch w.status {
	case http.StatusSwitchingProtocols: // the connection is another's
	case http.StatusRequestTimeout: // the time is over
	default:
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.cfg.UnreadTimeout))
		}
	}
}

// What a request may have before its body. net/http cuts what is far beyond.
const (
	maxRequestURI  = 8 << 10
	maxHeaderBytes = 32 << 10
)

func tooLarge(r *http.Request) *problem {
	if len(r.RequestURI) > maxRequestURI {
		return newProblem(http.StatusRequestURITooLong, fmt.Sprintf("the path and query are longer than %d bytes", maxRequestURI))
	}
	size := 0
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if size > maxHeaderBytes {
		return newProblem(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the headers are larger than %d bytes", maxHeaderBytes))
	}
	return nil
}

// sane reports whether a client's request id may stand in logs.
func sane(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' })
}

// hostAllowed keeps pages away that had their own name resolve to this machine.
func (a *api) hostAllowed(host string) bool {
	name := host
	if strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']') {
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return slices.ContainsFunc(a.cfg.Hosts, func(pattern string) bool {
		pattern = strings.ToLower(pattern)
		suffix, sub := strings.CutPrefix(pattern, "*")
		return pattern == name || sub && len(name) > len(suffix) && strings.HasSuffix(name, suffix)
	})
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
