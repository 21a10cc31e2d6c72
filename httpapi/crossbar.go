package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// Crossbar is an endpoint that speaks as those of Crossbar.io's HTTP bridge do: the same bodies, statuses, texts and order of checks.
type Crossbar struct {
	Kind      CrossbarKind
	Principal bridge.Principal // who publishes and calls

	Key, Secret    string         // with a secret every request has to be signed
	RequireTLS     bool           // 400 without
	RequireIP      []netip.Prefix // 400 from elsewhere
	BodyLimit      int64          // 0: that of Config
	TimestampDelta time.Duration  // how far the time that was signed may be off; 0: it is not looked at

	Topic           wampcore.URI // of a webhook, as all that follows
	SuccessResponse string
	ErrorResponse   string
	GitHubSecret    string
}

// CrossbarKind is what an endpoint does.
type CrossbarKind string

// The kinds, by the names that they have in Crossbar's configuration.
const (
	CrossbarPublisher CrossbarKind = "publisher"
	CrossbarCaller    CrossbarKind = "caller"
	CrossbarWebhook   CrossbarKind = "webhook"
)

// CrossbarStats are about the endpoints of the compatible bridge.
type CrossbarStats struct {
	Requests uint64
	Denied   uint64 // before anything was done
	Replayed uint64 // of them, those whose signature was used before
}

type crossbarCounters struct{ requests, denied, replayed atomic.Uint64 }

func (c *crossbarCounters) stats() CrossbarStats {
	s := CrossbarStats{Replayed: c.replayed.Load()}
	s.Denied = c.denied.Load() // after what is counted of them, and before what they are of
	s.Requests = c.requests.Load()
	return s
}

// crossbar is an endpoint.
type crossbar struct {
	Crossbar

	a    *api
	used *signatures
}

func (a *api) newCrossbar(cfg Crossbar) *crossbar {
	if cfg.BodyLimit <= 0 || cfg.BodyLimit > a.cfg.MaxBody {
		cfg.BodyLimit = a.cfg.MaxBody
	}
	return &crossbar{Crossbar: cfg, a: a, used: newSignatures(maxSignaturesKept, cfg.TimestampDelta)}
}

// denial is a request that is not done.
type denial struct {
	status int
	text   string
}

// What is denied without telling why, and what went wrong here.
const (
	textMalformed = "Malformed request to the REST bridge."
	textUnhandled = "Unhandled exception in Crossbar."
	bodySorry     = `{"error": "wamp.error.runtime_error", "args": ["Sorry, Crossbar.io has encountered a problem."], "kwargs": {}}`
)

func (c *crossbar) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.a.crossbars.requests.Add(1)
	c.headers(w, r)
	switch r.Method {
	case http.MethodPost, http.MethodPut:
	case http.MethodOptions:
		w.Header().Set("Allow", "POST,PUT,OPTIONS")
		w.Header().Set("Access-Control-Allow-Methods", "POST,PUT,OPTIONS")
		w.WriteHeader(http.StatusOK)
		return
	default:
		c.deny(w, &denial{405, "Method not accepted by the REST bridge. (" + pythonBytes(r.Method) + " not allowed, only POST, PUT)"})
		return
	}
	req := &crossbarRequest{c: c, w: w, r: r, query: r.URL.Query()}
	if d := req.check(); d != nil {
		c.deny(w, d)
		return
	}
	if d := c.serve(r.Context(), w, req); d != nil {
		c.deny(w, d)
	}
}

// headers sets what every answer has. Crossbar lets pages of every origin in; here it is those that the gateway trusts.
func (c *crossbar) headers(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store,no-cache,must-revalidate,max-age=0")
	h.Set("Content-Type", "application/json; charset=UTF-8")
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	switch {
	case origin == "" || origin == "null":
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Credentials", "true") // which browsers do not take together with that
	case slices.Contains(c.a.cfg.Origins, origin):
		h.Set("Access-Control-Allow-Origin", origin)
		if c.a.cfg.Credentials {
			h.Set("Access-Control-Allow-Credentials", "true")
		}
	default:
		return
	}
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
}

func (c *crossbar) deny(w http.ResponseWriter, d *denial) {
	c.a.crossbars.denied.Add(1)
	c.answer(w, d.status, `{"error":`+string(pythonString(nil, d.text, false))+`,"args":[],"kwargs":{}}`)
}

func (c *crossbar) answer(w http.ResponseWriter, status int, body string) {
	w.WriteHeader(status)
	_, _ = w.Write([]byte(body))
}

func (c *crossbar) serve(ctx context.Context, w http.ResponseWriter, req *crossbarRequest) *denial {
	ctx, cancel := context.WithTimeout(ctx, c.a.cfg.MaxCallTimeout) // Crossbar waits for ever
	defer cancel()
	switch c.Kind {
	case CrossbarWebhook:
		return c.hook(ctx, w, req)
	case CrossbarPublisher:
		return c.publish(ctx, w, req)
	default:
		return c.call(ctx, w, req)
	}
}

func (c *crossbar) publish(ctx context.Context, w http.ResponseWriter, req *crossbarRequest) *denial {
	topic, in, d := req.event("topic")
	if d != nil {
		return d
	}
	options, ok := crossbarOptions(in.options)
	if !ok || !in.named || in.clash {
		return &denial{500, textUnhandled}
	}
	id, err := c.a.cfg.Bridge.Publish(ctx, c.Principal, topic, bridge.PublishRequest{Payload: in.payload, Options: options})
	if err != nil {
		c.failed(w, topic, err)
		return nil
	}
	c.answer(w, http.StatusOK, `{"id":`+strconv.FormatUint(uint64(id), 10)+`}`)
	return nil
}

func (c *crossbar) call(ctx context.Context, w http.ResponseWriter, req *crossbarRequest) *denial {
	procedure, in, d := req.event("procedure")
	if d != nil {
		return d
	}
	if !in.named || in.clash || in.kwargsOptions {
		c.answer(w, http.StatusInternalServerError, bodySorry)
		return nil
	}
	p, err := c.a.cfg.Bridge.Call(ctx, c.Principal, procedure, bridge.CallRequest{Payload: in.payload})
	if err != nil {
		c.failed(w, procedure, err)
		return nil
	}
	c.answer(w, http.StatusOK, string(pythonJSON(bridge.EncodeResult(p), false)))
	return nil
}

// hidden are the headers of a webhook's request that are nobody's business. Crossbar publishes them, too.
var hidden = []string{"Authorization", "Cookie", "Proxy-Authorization", apiKeyHeader} //nolint:gochecknoglobals // a constant table

func (c *crossbar) hook(ctx context.Context, w http.ResponseWriter, req *crossbarRequest) *denial {
	headers := map[string][]string{"Host": {req.r.Host}}
	for name, values := range req.r.Header {
		if !slices.Contains(hidden, name) {
			headers[name] = values
		}
	}
	if n := req.r.ContentLength; n >= 0 {
		headers["Content-Length"] = []string{strconv.FormatInt(n, 10)}
	}
	p, err := wampcore.NewPayload(wampcore.JSON, []any{map[string]any{"headers": headers, "body": string(req.body)}}, nil)
	if err == nil {
		in := bridge.PublishRequest{Payload: p}
		in.Options.Acknowledge = true
		_, err = c.a.cfg.Bridge.Publish(ctx, c.Principal, c.Topic, in)
	}
	if err != nil {
		c.a.cfg.Log.Warn().Err(err).Str("topic", string(c.Topic)).Msg("a webhook could not be published")
		c.answer(w, http.StatusInternalServerError, c.ErrorResponse)
		return nil
	}
	c.answer(w, http.StatusAccepted, c.SuccessResponse)
	return nil
}

// failed answers with an error of WAMP, which is 200, or with ours.
func (c *crossbar) failed(w http.ResponseWriter, uri wampcore.URI, err error) {
	if errors.Is(err, context.DeadlineExceeded) {
		err = &wampcore.Error{URI: wampcore.ErrTimeout, Message: "the deadline passed before the answer came"}
	}
	e, ok := errors.AsType[*wampcore.Error](err)
	if !ok {
		c.answer(w, http.StatusInternalServerError, bodySorry)
		return
	}
	payload := e.Payload.Transcode(wampcore.JSON)
	args, kwargs := payload.Args, payload.Kwargs
	if len(args) == 0 && e.Message != "" {
		args, _ = json.Marshal([]string{e.Message}) // a string: it cannot fail
	}
	if own := `["no callee is registered for ` + string(uri) + `"]`; e.URI == wampcore.ErrNoSuchProcedure && string(args) == own {
		args = []byte(`["no callee registered for procedure <` + string(uri) + `>"]`)
	}
	b := append([]byte(`{"error": `), pythonString(nil, string(e.URI), true)...)
	b = append(append(b, `, "args": `...), pythonJSON(orEmpty(args, "[]"), true)...)
	b = append(append(b, `, "kwargs": `...), pythonJSON(orEmpty(kwargs, "{}"), true)...)
	c.answer(w, http.StatusOK, string(append(b, '}')))
}

func orEmpty(b []byte, empty string) []byte {
	if len(b) == 0 {
		return []byte(empty)
	}
	return b
}
