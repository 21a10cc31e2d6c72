package httpapi

import (
	"net/http"
	"time"

	"github.com/rs/zerolog"

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
	Ready     func() error  // for /readyz: why not; default: always nil
	Started   func() error  // for /startupz, the same
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
		c.Ready = func() error { return nil }
	}
	if c.Started == nil {
		c.Started = func() error { return nil }
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
