package bridge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/wampgate/wampgate/wampcore"
)

// Discovery says which service is asked for the hooks that it wants. URL is required.
type Discovery struct {
	URL       string    // the document is at /.well-known/wamp of it
	Principal Principal // with whose rights the hooks are made
	Secrets   []string  // that requests are signed with where a hook has none of its own
	Interval  time.Duration
}

const (
	wellKnown         = "/.well-known/wamp"
	maxDiscovered     = 64
	maxDiscovery      = 1 << 20
	discoveryInterval = 10 * time.Second
	discoveryTimeout  = 5 * time.Second
	discoveryRetry    = 500 * time.Millisecond
)

// discoverer asks a service for its hooks, and again while it runs.
type discoverer struct {
	Discovery

	hooks *Hooks
	base  *url.URL
	etag  string
	known map[string][]byte // hooks by name, as they were published
	down  int               // how often it did not answer, one time after another
}

// Discover asks a service for the hooks that it wants, until Close. While the service does not answer, its procedures are not
// registered; when it does again, it is asked anew.
func (hs *Hooks) Discover(cfg Discovery) error {
	base, err := hs.cfg.Egress.Check(cfg.URL)
	if err != nil {
		return err
	}
	if _, err := parseSigningKeys(cfg.Secrets); err != nil {
		return err
	}
	if cfg.Interval <= 0 {
		cfg.Interval = discoveryInterval
	}
	d := &discoverer{Discovery: cfg, hooks: hs, base: base, known: map[string][]byte{}}
	hs.work.Go(d.run)
	return nil
}

func (d *discoverer) run() {
	retry := &backoff.ExponentialBackOff{
		InitialInterval: min(discoveryRetry, d.Interval), MaxInterval: d.Interval, Multiplier: 2, RandomizationFactor: 0.5,
	}
	for d.hooks.ctx.Err() == nil {
		wait := time.Duration(float64(d.Interval) * (0.9 + 0.2*rand.Float64()))
		if err := d.ask(); err != nil {
			wait = retry.NextBackOff()
			d.failed(err)
		} else {
			retry.Reset()
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-d.hooks.ctx.Done():
			timer.Stop()
		}
	}
}

// failed says after some failures that the service is not there. What it published is asked for again then.
func (d *discoverer) failed(err error) {
	if d.hooks.ctx.Err() != nil {
		return
	}
	d.etag = ""
	if d.down++; d.down != sickAfter {
		return
	}
	d.hooks.cfg.Log.Warn().Err(err).Str("url", d.base.Redacted()).Msg("a service does not say which hooks it wants")
	d.tell(true)
}

// tell says to the hooks of the service whether it is there.
func (d *discoverer) tell(down bool) {
	for _, h := range d.hooks.all() {
		if h.origin == MadeByDiscovery && d.known[h.key.name] != nil {
			h.setAppDown(down)
		}
	}
}

// ask asks the service, and does what it says.
func (d *discoverer) ask() error {
	body, err := d.fetch()
	if err != nil {
		return err
	}
	if body != nil {
		if err := d.apply(body); err != nil {
			return err
		}
	}
	if d.down >= sickAfter {
		d.hooks.cfg.Log.Info().Str("url", d.base.Redacted()).Msg("a service is back")
	}
	if d.down > 0 {
		d.tell(false)
	}
	d.down = 0
	return nil
}

// fetch returns the document, nil if it has not changed.
func (d *discoverer) fetch() ([]byte, error) {
	ctx, cancel := context.WithTimeout(d.hooks.ctx, discoveryTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.base.JoinPath(wellKnown).String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", UserAgent)
	req.Header.Set("Accept", "application/json")
	if d.etag != "" {
		req.Header.Set("If-None-Match", d.etag)
	}
	res, err := d.hooks.cfg.Egress.Do(req)
	if err != nil {
		return nil, withoutURL(err)
	}
	defer func() { drain(res.Body) }()
	switch res.StatusCode {
	case http.StatusNotModified:
		return nil, nil
	case http.StatusOK:
	default:
		return nil, fmt.Errorf("%s answers %d", wellKnown, res.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDiscovery+1))
	if err == nil && len(body) > maxDiscovery {
		err = fmt.Errorf("%s is larger than %d bytes", wellKnown, maxDiscovery)
	}
	if err != nil {
		return nil, err
	}
	d.etag = res.Header.Get("ETag")
	return body, nil
}

// apply makes the hooks that a document has, and ends those that it has no more. A hook that cannot be is left out.
func (d *discoverer) apply(body []byte) error {
	wanted, err := parseDiscovery(body)
	if err != nil {
		d.etag = ""
		return err
	}
	for name := range d.known {
		if wanted[name] == nil {
			d.hooks.remove(fixedKey(d.Principal, name), MadeByDiscovery)
			delete(d.known, name)
		}
	}
	for name, text := range wanted {
		if bytes.Equal(d.known[name], text) {
			continue
		}
		if err := d.add(name, text); err != nil {
			d.hooks.cfg.Log.Warn().Err(err).Str("hook", headerText(name)).Msg("a service wants a hook that cannot be")
			d.hooks.remove(fixedKey(d.Principal, name), MadeByDiscovery)
		}
		d.known[name] = text // what cannot be is not tried again until it changes
	}
	return nil
}

// parseDiscovery returns the hooks of a document {"hooks":{"name":{…}}}.
func parseDiscovery(body []byte) (map[string]json.RawMessage, error) {
	v, err := checked(wampcore.Raw{Encoding: wampcore.JSON, Bytes: body})
	if err != nil || len(v.Bytes) == 0 {
		return nil, errors.Join(errors.New(wellKnown+" is no JSON"), err)
	}
	var document struct {
		Hooks map[string]json.RawMessage `json:"hooks"`
	}
	if err := json.Unmarshal(v.Bytes, &document); err != nil {
		return nil, fmt.Errorf(`%s is not of the form {"hooks":{"name":{…}}}: %w`, wellKnown, err)
	}
	if len(document.Hooks) > maxDiscovered {
		return nil, fmt.Errorf("%s has more than %d hooks", wellKnown, maxDiscovered)
	}
	return document.Hooks, nil
}

// add makes one hook. Its URLs are the service's own: they may be paths.
func (d *discoverer) add(name string, text []byte) error {
	spec, err := ParseHookSpec(text)
	if err != nil {
		return err
	}
	for _, at := range []*string{&spec.URL, &spec.Health} {
		ref, err := url.Parse(*at)
		if err != nil {
			return errors.New("a URL cannot be parsed")
		}
		if *at == "" && at == &spec.Health {
			continue
		}
		u := d.base.ResolveReference(ref)
		if u.Scheme != d.base.Scheme || u.Host != d.base.Host {
			return errors.New("a URL is not the service's own")
		}
		*at = u.String()
	}
	if len(spec.Secrets) == 0 {
		spec.Secrets = slices.Clone(d.Secrets)
	}
	return d.hooks.fix(d.Principal, name, spec, MadeByDiscovery)
}
