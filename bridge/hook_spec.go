package bridge

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// HookSpec is what a hook is made of. Its JSON is what the REST API takes, what a service publishes of itself, and, in YAML,
// what stands in the configuration file.
type HookSpec struct {
	URL       string       `json:"url"`
	Procedure wampcore.URI `json:"procedure,omitempty"` // the URL answers its calls; or
	Topic     wampcore.URI `json:"topic,omitempty"`     // it is sent its events
	Match     string       `json:"match,omitempty"`     // exact (default), prefix or wildcard

	Timeout Duration          `json:"timeout,omitempty"` // for an answer to begin; default 30 s
	Secrets []string          `json:"secrets,omitempty"` // requests are signed with each
	Headers map[string]string `json:"headers,omitempty"` // that each request has

	// Of procedures.
	Invoke         string   `json:"invoke,omitempty"`          // single (default), roundrobin, random, first, last
	Concurrency    int      `json:"concurrency,omitempty"`     // requests at once; default 16
	Queue          int      `json:"queue,omitempty"`           // calls that may wait; default 64
	Idempotent     bool     `json:"idempotent,omitempty"`      // a request may be sent again
	Result         As       `json:"result,omitempty"`          // what an answer's body is: envelope (default), args, kwargs, value
	Health         string   `json:"health,omitempty"`          // URL, or path, that answers 2xx while the service is well
	HealthInterval Duration `json:"health_interval,omitempty"` // default 10 s

	// Of topics.
	Format     Format       `json:"format,omitempty"`      // wamp (default), cloudevents, cloudevents-binary or cloudevents-batch
	Batch      int          `json:"batch,omitempty"`       // events of one request at most, of cloudevents-batch; default 100
	RetryFor   Duration     `json:"retry_for,omitempty"`   // for an event; default 5 min
	DeadLetter wampcore.URI `json:"dead_letter,omitempty"` // topic of what could not be delivered
}

// Duration is a time.Duration that is written as 1m30s.
type Duration time.Duration

// UnmarshalText reads a duration.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is no duration; want one such as 500ms, 30s or 5m", text)
	}
	*d = Duration(v)
	return nil
}

// MarshalText writes it.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// Format is how an event is sent.
type Format string

// The formats.
const (
	FormatWAMP        Format = "wamp"
	FormatCloudEvents Format = "cloudevents"
	FormatBinary      Format = "cloudevents-binary"
	FormatBatch       Format = "cloudevents-batch"
)

// What a hook may ask for at most.
const (
	maxHookConcurrency = 1024
	maxHookQueue       = 10_000
	maxHookTimeout     = 10 * time.Minute
	maxHookBatch       = 1000
	maxHookRetryFor    = 24 * time.Hour
	maxHookHeaders     = 16
	maxHookHeaderSize  = 4 << 10
	maxHookURL         = 2 << 10
	minHealthInterval  = time.Second
)

// ParseHookSpec reads a hook in JSON. What it does not know is an error.
func ParseHookSpec(body []byte) (HookSpec, error) {
	v, err := checked(wampcore.Raw{Encoding: wampcore.JSON, Bytes: body})
	if err != nil {
		return HookSpec{}, err
	}
	var members wampcore.Cursor
	object := false
	if len(v.Bytes) > 0 {
		members, object = v.Dict()
	}
	if !object {
		return HookSpec{}, badBody(`a hook is an object such as {"procedure":"com.example.add","url":"http://localhost:9000/add"}`)
	}
	seen := map[string]bool{}
	for key, more := members.Next(); more; key, more = members.Next() {
		_, _ = members.Next()
		name, _ := key.Text()
		if seen[string(name)] {
			return HookSpec{}, badBody("the member %q is there twice", name)
		}
		seen[string(name)] = true
	}
	var spec HookSpec
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&spec); err != nil {
		return HookSpec{}, badBody("the hook: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return spec, nil
}

// endpoint is a checked spec.
type endpoint struct {
	HookSpec

	spec    HookSpec // as it was given
	url     *url.URL
	health  *url.URL
	match   wampcore.Match
	invoke  wampcore.Invoke
	keys    signingKeys
	headers http.Header
}

// check returns what a spec means, with the defaults in it. Its errors are *BodyError.
func (s HookSpec) check(e *Egress) (*endpoint, error) {
	h := &endpoint{HookSpec: s, spec: s}
	for _, f := range []func(*Egress) error{h.checkURL, h.checkURI, h.checkRequest, h.checkKind, h.checkNumbers} {
		if err := f(e); err != nil {
			return nil, badBody("%s", err)
		}
	}
	return h, nil
}

func (h *endpoint) checkURL(e *Egress) (err error) {
	if len(h.URL) > maxHookURL || len(h.Health) > maxHookURL {
		return fmt.Errorf("a URL is longer than %d bytes", maxHookURL)
	}
	if h.url, err = e.Check(h.URL); err != nil {
		return fmt.Errorf("url: %w", err)
	}
	if h.Health == "" {
		return nil
	}
	ref, err := url.Parse(h.Health)
	if err != nil {
		return errors.New("health: the URL cannot be parsed")
	}
	if h.health, err = e.Check(h.url.ResolveReference(ref).String()); err != nil {
		return fmt.Errorf("health: %w", err)
	}
	return nil
}

func (h *endpoint) checkURI(*Egress) error {
	var ok bool
	if h.match, ok = map[string]wampcore.Match{
		"": wampcore.MatchExact, "exact": wampcore.MatchExact, "prefix": wampcore.MatchPrefix, "wildcard": wampcore.MatchWildcard,
	}[h.Match]; !ok {
		return fmt.Errorf("match: %q is not known; it is exact, prefix or wildcard", h.Match)
	}
	uri := cmp.Or(h.Procedure, h.Topic)
	switch {
	case h.Procedure != "" && h.Topic != "":
		return errors.New("it has a procedure and a topic; make two hooks of it")
	case uri == "":
		return errors.New("it has neither a procedure, whose calls the URL answers, nor a topic, whose events it is sent")
	case !uri.ValidPattern(h.match, false):
		return fmt.Errorf("%q is no URI", string(uri))
	case h.DeadLetter != "" && !h.DeadLetter.Valid(false):
		return fmt.Errorf("dead_letter: %q is no URI", string(h.DeadLetter))
	case h.DeadLetter != "" && matchesURI(h.Topic, h.match, h.DeadLetter):
		return errors.New("dead_letter: the hook would be sent its own dead letters")
	}
	if h.invoke, ok = map[string]wampcore.Invoke{
		"": wampcore.InvokeSingle, "single": wampcore.InvokeSingle, "roundrobin": wampcore.InvokeRoundRobin,
		"random": wampcore.InvokeRandom, "first": wampcore.InvokeFirst, "last": wampcore.InvokeLast,
	}[h.Invoke]; !ok {
		return fmt.Errorf("invoke: %q is not known; it is single, roundrobin, random, first or last", h.Invoke)
	}
	return nil
}

// matchesURI reports whether a topic is one of a subscription's.
func matchesURI(pattern wampcore.URI, match wampcore.Match, topic wampcore.URI) bool {
	switch match {
	case wampcore.MatchPrefix:
		return strings.HasPrefix(string(topic), string(pattern))
	case wampcore.MatchWildcard:
		want, got := strings.Split(string(pattern), "."), strings.Split(string(topic), ".")
		for i := range want {
			if len(want) != len(got) || want[i] != "" && want[i] != got[i] {
				return false
			}
		}
		return true
	default:
		return pattern == topic
	}
}

// ownHeaders are those that hooks set, and those that belong to the connection. Some have more names that begin so.
func isOwnHeader(name string) bool {
	switch name {
	case "Host", "Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Connection", "Keep-Alive", "Upgrade",
		"Te", "Trailer", "Expect", "Accept", "Accept-Encoding", "User-Agent", "Traceparent", "Tracestate", "Idempotency-Key",
		"X-Idempotency-Key":
		return true
	}
	return strings.HasPrefix(name, "Wamp-") || strings.HasPrefix(name, "Webhook-") || strings.HasPrefix(name, "Ce-") ||
		strings.HasPrefix(name, "Proxy-")
}

// isToken reports whether a name can be a header's.
func isToken(name string) bool {
	return name != "" && len(name) <= 100 && !strings.ContainsFunc(name, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", c)
	})
}

func isNoHeaderText(c rune) bool { return c < ' ' || c > '~' }

func (h *endpoint) checkRequest(*Egress) (err error) {
	if h.keys, err = parseSigningKeys(h.Secrets); err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if len(h.Headers) > maxHookHeaders {
		return fmt.Errorf("headers: there are more than %d", maxHookHeaders)
	}
	h.headers = http.Header{}
	for name, value := range h.Headers {
		name = http.CanonicalHeaderKey(name)
		switch {
		case !isToken(name), strings.ContainsFunc(value, isNoHeaderText), len(value) > maxHookHeaderSize:
			return fmt.Errorf("headers: %q or its value cannot be a header's", name)
		case isOwnHeader(name):
			return fmt.Errorf("headers: %s is the gateway's to set", name)
		}
		h.headers.Set(name, value)
	}
	return nil
}

// checkKind refuses what only the other kind of hook has.
func (h *endpoint) checkKind(*Egress) error {
	kind, other := "procedure", []struct {
		name string
		set  bool
	}{{"format", h.Format != ""}, {"batch", h.Batch != 0}, {"retry_for", h.RetryFor != 0}, {"dead_letter", h.DeadLetter != ""}}
	if h.Topic != "" {
		kind, other = "topic", other[:0:0]
		for name, set := range map[string]bool{
			"invoke": h.Invoke != "", "concurrency": h.Concurrency != 0, "queue": h.Queue != 0, "idempotent": h.Idempotent,
			"result": h.Result != "", "health": h.Health != "", "health_interval": h.HealthInterval != 0,
		} {
			other = append(other, struct {
				name string
				set  bool
			}{name, set})
		}
	}
	for _, o := range other {
		if o.set {
			return fmt.Errorf("%s is not for a hook of a %s", o.name, kind)
		}
	}
	switch h.Result {
	case "envelope":
		h.Result = AsEnvelope
	case AsEnvelope, AsArgs, AsKwargs, AsValue:
	default:
		return fmt.Errorf("result: %q is not known; it is envelope, args, kwargs or value", h.Result)
	}
	switch h.Format = cmp.Or(h.Format, FormatWAMP); h.Format {
	case FormatWAMP, FormatCloudEvents, FormatBinary, FormatBatch:
		return nil
	default:
		return fmt.Errorf("format: %q is not known; it is wamp, cloudevents, cloudevents-binary or cloudevents-batch", h.Format)
	}
}

func (h *endpoint) checkNumbers(*Egress) error {
	for _, n := range []struct {
		name          string
		v             *int
		def, min, max int
	}{
		{"concurrency", &h.Concurrency, 16, 1, maxHookConcurrency},
		{"queue", &h.Queue, 64, 1, maxHookQueue},
		{"batch", &h.Batch, 100, 1, maxHookBatch},
	} {
		if *n.v = cmp.Or(*n.v, n.def); *n.v < n.min || *n.v > n.max {
			return fmt.Errorf("%s: want a number from %d to %d", n.name, n.min, n.max)
		}
	}
	for _, d := range []struct {
		name     string
		v        *Duration
		def      time.Duration
		min, max time.Duration
	}{
		{"timeout", &h.Timeout, 30 * time.Second, time.Millisecond, maxHookTimeout},
		{"health_interval", &h.HealthInterval, 10 * time.Second, minHealthInterval, time.Hour},
		{"retry_for", &h.RetryFor, 5 * time.Minute, time.Second, maxHookRetryFor},
	} {
		if *d.v = cmp.Or(*d.v, Duration(d.def)); time.Duration(*d.v) < d.min || time.Duration(*d.v) > d.max {
			return fmt.Errorf("%s: want a duration from %s to %s", d.name, d.min, d.max)
		}
	}
	return nil
}
