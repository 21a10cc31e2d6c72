package httpapi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// Inbound is a webhook of somebody else's that is taken in and published.
type Inbound struct {
	Provider  string           // one of Providers
	Secrets   []string         // each is good: there are two while they are changed
	Principal bridge.Principal // who publishes
	Topic     wampcore.URI
	Tolerance time.Duration // how far the time that was signed may be off; default 5 min
}

// inbound is a webhook with what was delivered by it.
type inbound struct {
	Inbound

	provider provider

	mu        sync.Mutex
	delivered *recent[string, *delivery]

	published, duplicates, refused atomic.Uint64
}

// maxDeliveries is how many deliveries of a webhook are remembered.
const maxDeliveries = 10_000

// delivery is what became of one.
type delivery struct {
	done        bool
	publication wampcore.ID
}

func newInbounds(all map[string]Inbound) map[string]*inbound {
	hooks := make(map[string]*inbound, len(all))
	for name, cfg := range all {
		if cfg.Tolerance <= 0 {
			cfg.Tolerance = 5 * time.Minute
		}
		hooks[name] = &inbound{Inbound: cfg, provider: providers[cfg.Provider], delivered: newRecent[string, *delivery](maxDeliveries)}
		hooks[name].delivered.busy = func(d *delivery) bool { return !d.done }
	}
	return hooks
}

// webhook publishes what a provider sends, once.
func (a *api) webhook(w http.ResponseWriter, r *http.Request) error {
	hook := a.inbound[chi.URLParam(r, "name")]
	if hook == nil {
		return newProblem(http.StatusNotFound, "there is no such webhook")
	}
	body, err := a.bytes(w, r)
	if err != nil {
		return err
	}
	sent := message{header: r.Header, body: body}
	if err := hook.provider.verify(&sent, hook.Secrets); err != nil {
		hook.refused.Add(1)
		return a.unauthorized(r, refusedSignature, err.Error())
	}
	if sent.timed && time.Since(sent.time).Abs() > hook.Tolerance {
		hook.refused.Add(1)
		return a.unauthorized(r, refusedSignature, "the time that was signed is too far from now")
	}
	if challenge, ok := hook.provider.challenge(&sent); ok {
		reply{status: http.StatusOK, kind: []string{"text/plain; charset=utf-8"}, body: challenge}.write(w, r)
		return nil
	}
	id, again, err := a.publishOnce(r, hook, &sent)
	if err != nil {
		return err
	}
	rep := `{"publication":` + strconv.FormatUint(uint64(id), 10) + `}`
	if again {
		rep = `{"publication":` + strconv.FormatUint(uint64(id), 10) + `,"duplicate":true}`
	}
	writeJSON(w, r, []byte(rep))
	return nil
}

// publishOnce publishes a message, unless that was done. What fails may be sent again.
func (a *api) publishOnce(r *http.Request, hook *inbound, sent *message) (id wampcore.ID, again bool, err error) {
	key := bounded(hook.provider.delivery(sent))
	d, err := hook.begin(key)
	switch {
	case err != nil:
		return 0, false, err
	case d.done:
		hook.duplicates.Add(1)
		return d.publication, true, nil
	}
	defer func() { hook.finish(key, d, id, err == nil) }()
	payload, err := hook.payload(chi.URLParam(r, "name"), sent)
	if err != nil {
		return 0, false, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.CallTimeout)
	defer cancel()
	req := bridge.PublishRequest{Payload: payload}
	req.Options.Acknowledge = true
	req.Options.Custom = traced(r, nil)
	id, err = a.cfg.Bridge.Publish(ctx, hook.Principal, hook.Topic, req)
	return id, false, err
}

// maxDeliveryID is how long an id may be to be kept as it is.
const maxDeliveryID = 64

// bounded returns an id, or what stands for one that is long.
func bounded(id string) string {
	if len(id) <= maxDeliveryID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

// begin returns what became of a delivery, or notes that it is under way. Without an id each is its own.
func (hook *inbound) begin(key string) (*delivery, error) {
	d := new(delivery)
	if key == "" {
		return d, nil
	}
	hook.mu.Lock()
	defer hook.mu.Unlock()
	before, known := hook.delivered.get(key)
	switch {
	case known && before.done:
		return before, nil
	case known:
		p := newProblem(http.StatusConflict, "this delivery is being published")
		p.Retriable = true
		p.header = http.Header{"Retry-After": {"1"}}
		return nil, p
	}
	hook.delivered.put(key, d)
	return d, nil
}

func (hook *inbound) finish(key string, d *delivery, id wampcore.ID, ok bool) {
	if ok {
		hook.published.Add(1)
	}
	hook.mu.Lock()
	defer hook.mu.Unlock()
	if now, known := hook.delivered.get(key); !known || now != d {
		return
	}
	if ok {
		hook.delivered.put(key, &delivery{true, id})
	} else {
		hook.delivered.remove(key)
	}
}

// payload is what is published: the body as the only argument, JSON as it came and anything else as a text, and around it what
// the provider said in headers.
func (hook *inbound) payload(name string, sent *message) (wampcore.Payload, error) {
	headers := map[string]string{}
	for _, h := range hook.provider.headers {
		if v := sent.header.Get(h); v != "" {
			headers[strings.ToLower(h)] = v
		}
	}
	kwargs := map[string]any{
		"webhook": name, "provider": hook.Provider, "delivery": hook.provider.delivery(sent), "event": hook.provider.event(sent), "headers": headers,
	}
	p, err := wampcore.NewPayload(wampcore.JSON, []any{sent.text()}, kwargs)
	if json := sent.json(); err == nil && len(json.Bytes) > 0 {
		p.Args = append(append([]byte{'['}, json.Bytes...), ']')
	}
	return p, err
}

// maxInboundDepth is how deep the body of a webhook may be nested to be taken for JSON.
const maxInboundDepth = 60

// InboundStats are about webhooks that are taken in.
type InboundStats struct {
	Published  uint64
	Duplicates uint64
	Refused    uint64 // whose signature was wrong, or too old
}

func (a *api) inboundStats() map[string]InboundStats {
	all := make(map[string]InboundStats, len(a.inbound))
	for name, hook := range a.inbound {
		all[name] = InboundStats{hook.published.Load(), hook.duplicates.Load(), hook.refused.Load()}
	}
	return all
}

// message is what a provider sends.
type message struct {
	header http.Header
	body   []byte

	timed bool // it says when it was signed
	time  time.Time

	parsed bool
	value  wampcore.Raw
}

// json returns the body, nothing if it is no JSON.
func (m *message) json() wampcore.Raw {
	if m.parsed {
		return m.value
	}
	m.parsed = true
	v := wampcore.Raw{Encoding: wampcore.JSON, Bytes: bytes.Trim(m.body, " \t\r\n")}
	if len(v.Bytes) > 0 && wampcore.Scan(wampcore.JSON, v.Bytes) == nil && v.Depth() <= maxInboundDepth {
		m.value = v
	}
	return m.value
}

// member returns a text of the body's object, empty if there is none.
func (m *message) member(name string) string {
	body := m.json()
	if len(body.Bytes) == 0 {
		return ""
	}
	dict, _ := body.Dict()
	for key, more := dict.Next(); more; key, more = dict.Next() {
		v, _ := dict.Next()
		if text, _ := key.Text(); string(text) == name {
			text, _ = v.Text()
			return string(text)
		}
	}
	return ""
}

func (m *message) text() string { return strings.ToValidUTF8(string(m.body), "\uFFFD") }

var errNoSecond = errors.New("the time that was signed is no number of seconds")

// at notes when a message was signed.
func (m *message) at(seconds string) error {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n < 0 || n > 1<<40 {
		return errNoSecond
	}
	m.timed, m.time = true, time.Unix(n, 0)
	return nil
}
