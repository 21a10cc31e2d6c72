package bridge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// message is what a hook sends: one call, or some events. It has the same id when it is sent again.
type message struct {
	id     string
	body   []byte
	header http.Header
}

// post sends a message. sent reports whether the service may have seen some of it.
func (h *hook) post(ctx context.Context, m *message) (res *http.Response, sent bool, err error) {
	var wrote atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaderField: func(string, []string) { wrote.Store(true) }})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.url.String(), bytes.NewReader(m.body))
	if err != nil {
		return nil, false, err
	}
	maps.Copy(req.Header, m.header)
	h.dress(req)
	h.keys.sign(req.Header, m.id, time.Now(), m.body)
	res, err = h.egress.Do(req)
	return res, wrote.Load(), withoutURL(err)
}

// UserAgent is what all requests to services have for a User-Agent, whatever else is in them.
const UserAgent = "wampgate"

// dress sets what all requests of the hook have.
func (h *hook) dress(req *http.Request) {
	maps.Copy(req.Header, h.headers)
	req.Header.Set("User-Agent", UserAgent)
}

// withoutURL takes the URL out of an error: there may be a secret in it.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// How much of a body is read that nobody looks at, and for how long, so that its connection can be used again.
const (
	maxDrain  = 64 << 10
	drainTime = 200 * time.Millisecond
)

func drain(body io.ReadCloser) {
	cut := time.AfterFunc(drainTime, func() { _ = body.Close() })
	defer cut.Stop()
	_, _ = io.CopyN(io.Discard, body, maxDrain)
	_ = body.Close()
}

// headerText writes text so that it can be a header's value, whatever it is: what is not visible ASCII, quotes and percent signs
// are percent-encoded. CloudEvents has it so, too.
func headerText(s string) string {
	const hex = "0123456789ABCDEF"
	if !strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '%' }) {
		return s
	}
	var b strings.Builder
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c > '~' || c == '"' || c == '%' {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// setID sets a header to an id, if there is one.
func setID(h http.Header, name string, id wampcore.ID) {
	if id != 0 {
		h.Set(name, strconv.FormatUint(uint64(id), 10))
	}
}

// setText sets a header to a text that others have chosen, if there is one.
func setText(h http.Header, name, text string) {
	if text != "" {
		h.Set(name, headerText(text))
	}
}

// maxTraceState is how long a tracestate may be that is passed on.
const maxTraceState = 512

// traceHeaders sets the headers of a trace context. What is none is not passed on.
func traceHeaders(h http.Header, t Trace) {
	if !isTraceParent(t.Parent) {
		return
	}
	h.Set("Traceparent", t.Parent)
	if t.State != "" && len(t.State) <= maxTraceState && !strings.ContainsFunc(t.State, isNoHeaderText) {
		h.Set("Tracestate", t.State)
	}
}

// isTraceParent reports whether v has the form of version 00: 00-trace-span-flags.
func isTraceParent(v string) bool {
	if len(v) != 55 || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return false
	}
	return !strings.ContainsFunc(v, func(c rune) bool { return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'f') })
}

// retryAfter reads a Retry-After header, in seconds or as a date.
func retryAfter(h http.Header, now time.Time) time.Duration {
	v := h.Get("Retry-After")
	if n, err := strconv.ParseUint(v, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}
