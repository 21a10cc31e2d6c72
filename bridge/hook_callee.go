package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/sony/gobreaker/v2"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// fault is a request to a service that failed.
type fault struct {
	err    *wampcore.Error // what the caller is told
	status int             // the answer's; 0: there was none
	why    string          // for those who look after the hook
	broken bool            // the service is not well
	again  bool            // it may work if it is sent again
	after  time.Duration   // and when the service wants that
}

// Error says what failed.
func (f *fault) Error() string { return f.why }

// Unwrap returns what the caller is told.
func (f *fault) Unwrap() error { return f.err }

func newFault(uri wampcore.URI, format string, args ...any) *fault {
	text := fmt.Sprintf(format, args...)
	return &fault{err: &wampcore.Error{URI: uri, Message: text}, why: text}
}

// breaker keeps requests from a service that is not well.
type breaker = gobreaker.CircuitBreaker[wampcore.Payload]

// errCut is a request that was given up by those who wanted it: it says nothing of the service.
var errCut = errors.New("the call was cancelled")

func newBreaker(h *hook, failures int, wait time.Duration) *breaker {
	return gobreaker.NewCircuitBreaker[wampcore.Payload](gobreaker.Settings{
		Timeout:     wait,
		ReadyToTrip: func(c gobreaker.Counts) bool { return int(c.ConsecutiveFailures) >= failures },
		IsSuccessful: func(err error) bool {
			f, ok := errors.AsType[*fault](err)
			return err == nil || ok && !f.broken
		},
		IsExcluded: func(err error) bool { return errors.Is(err, errCut) },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			h.log.Warn().Stringer("from", from).Stringer("to", to).Msg("a hook's circuit breaker changes")
		},
	})
}

// maxAttempts is how often a request is sent that may be sent again.
const maxAttempts = 3

// answer answers a call by a request.
func (h *hook) answer(ctx context.Context, inv *client.Invocation) (wampcore.Payload, error) {
	switch {
	case inv.Details.Passthru.Scheme != "":
		return wampcore.Payload{}, &wampcore.Error{
			URI: wampcore.ErrFeatureNotSupported, Message: "an HTTP service takes no payload that only its sender can read",
		}
	case inv.Details.Progress:
		return wampcore.Payload{}, &wampcore.Error{
			URI: wampcore.ErrFeatureNotSupported, Message: "an HTTP service takes a call as a whole, not in parts",
		}
	}
	m := h.call(inv)
	h.counters.calls.Add(1)
	trace := TraceOf(inv.Details.Custom)
	ctx, passed, done := observe(ctx, h.hooks.cfg.Observer, Operation{Action: Invoking, URI: h.Procedure}, trace)
	if passed != (Trace{}) {
		trace = passed
	}
	traceHeaders(m.header, trace)
	p, err := h.attempts(ctx, inv, m)
	return p, done(err)
}

// attempts sends a call's request, more than once if that may be.
func (h *hook) attempts(ctx context.Context, inv *client.Invocation, m *message) (wampcore.Payload, error) {
	delays := h.delays()
	for attempt := 1; ; attempt++ {
		began := false
		p, err := h.breaker.Execute(func() (wampcore.Payload, error) { return h.attempt(ctx, inv, m, &began) })
		f, failed := errors.AsType[*fault](err)
		switch {
		case err == nil:
			h.counters.answered.Add(1)
			return p, nil
		case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
			h.counters.broken.Add(1)
			return p, &wampcore.Error{URI: wampcore.ErrUnavailable, Message: "the service has failed too often, and is left alone for a while"}
		case !failed: // it was cut; where the call was given up, that is what its caller is told
			return p, &wampcore.Error{URI: wampcore.ErrCanceled, Message: "the gateway ends"}
		case h.Idempotent && f.again && !began && attempt < maxAttempts && h.waitAgain(ctx, delays, f):
			h.counters.retries.Add(1)
			continue
		}
		if f.status != 0 && f.status < http.StatusInternalServerError && !f.again { // the service has said no
			h.counters.answered.Add(1)
			return p, f.err
		}
		h.counters.failed.Add(1)
		h.fail(f.status, f.why)
		return p, f.err
	}
}

// delays returns those between attempts: with full jitter, from nothing to a bound that grows.
func (h *hook) delays() *backoff.ExponentialBackOff {
	return &backoff.ExponentialBackOff{
		InitialInterval: h.hooks.cfg.RetryDelay / 2, MaxInterval: h.hooks.cfg.RetryDelayMax / 2, Multiplier: 2, RandomizationFactor: 1,
	}
}

// delay returns how long to wait before the next attempt.
func (h *hook) delay(delays *backoff.ExponentialBackOff, f *fault) time.Duration {
	return max(delays.NextBackOff(), min(f.after, h.hooks.cfg.RetryDelayMax))
}

// waitAgain waits before another attempt, and reports whether there is time for one.
func (h *hook) waitAgain(ctx context.Context, delays *backoff.ExponentialBackOff, f *fault) bool {
	wait := h.delay(delays, f)
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false
	}
	return h.pauseFor(ctx, wait)
}

// pauseFor waits, and reports whether neither ctx nor the hook has ended before that.
func (h *hook) pauseFor(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-h.stopped.Done():
		return false
	}
}

// call returns a call's message.
func (h *hook) call(inv *client.Invocation) *message {
	header := http.Header{}
	header.Set("Content-Type", "application/json")
	header.Set("Accept", "application/json, application/problem+json;q=0.9, text/event-stream;q=0.5, application/jsonl;q=0.5")
	procedure := h.Procedure
	if inv.Details.Procedure != "" {
		procedure = inv.Details.Procedure
	}
	id := fmt.Sprintf("%d-%d", inv.Session(), inv.Request)
	setText(header, "Wamp-Procedure", string(procedure))
	header.Set("Wamp-Invocation", id)
	setID(header, "Wamp-Caller", inv.Details.Caller)
	setText(header, "Wamp-Caller-Authid", inv.Details.CallerAuthID)
	setText(header, "Wamp-Caller-Authrole", inv.Details.CallerAuthRole)
	if level := inv.Details.TrustLevel; level != nil {
		header.Set("Wamp-Trust-Level", strconv.FormatInt(*level, 10))
	}
	if h.Idempotent {
		header.Set("Idempotency-Key", id)
	}
	return &message{id: id, body: EncodeResult(inv.Payload), header: header}
}

// errLate is a service that takes too long.
var errLate = errors.New("the service did not answer in time")

// attempt sends a request and reads its answer. began is set when a progressive result was sent on.
func (h *hook) attempt(ctx context.Context, inv *client.Invocation, m *message, began *bool) (wampcore.Payload, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(h.killed, func() { cancel(errCut) })() //nolint:contextcheck // it is another's end that ends this, too
	limit := time.Duration(h.Timeout)
	late := time.AfterFunc(limit, func() { cancel(errLate) })
	defer late.Stop()
	defer time.AfterFunc(maxHookTimeout, func() { cancel(errLate) }).Stop()
	left := limit
	if deadline, ok := ctx.Deadline(); ok {
		left = min(left, time.Until(deadline))
	}
	m.header.Set("Wamp-Timeout-Ms", strconv.FormatInt(max(1, left.Milliseconds()), 10))
	res, sent, err := h.post(ctx, m)
	if err != nil {
		return wampcore.Payload{}, lost(ctx, sent, err)
	}
	defer func() { _ = res.Body.Close() }() // a stream may go on behind its result
	a := &answerReader{
		as: h.Result, max: h.hooks.cfg.MaxAnswer,
		alive: func() { late.Reset(limit) },
		progress: func(p wampcore.Payload) error {
			*began = true
			return inv.Progress(ctx, p)
		},
	}
	p, err := a.read(res)
	if err == nil {
		return p, nil
	}
	if f, ok := errors.AsType[*fault](err); ok && ctx.Err() == nil {
		return p, f
	}
	return p, lost(ctx, true, err)
}

// lost says what a request that has no answer means.
func lost(ctx context.Context, sent bool, err error) error {
	cause := context.Cause(ctx)
	e, ok := errors.AsType[*wampcore.Error](cause)
	var f *fault
	switch {
	case errors.Is(cause, errLate), ok && e.URI == wampcore.ErrTimeout:
		f = newFault(wampcore.ErrTimeout, "the service did not answer in time")
		f.broken = !ok // a caller without patience says nothing of the service
		return f
	case cause != nil:
		return errCut
	case errors.Is(err, ErrEgress):
		f = newFault(wampcore.ErrUnavailable, "the gateway may not reach the service")
	case !sent:
		f = newFault(wampcore.ErrUnavailable, "the service cannot be reached")
		f.again = true
	default:
		f = newFault(wampcore.ErrNetworkFailure, "the service was lost before it had answered")
		f.again = true
	}
	f.why, f.broken = f.why+": "+err.Error(), true
	return f
}
