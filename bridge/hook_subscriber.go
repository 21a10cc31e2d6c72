package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// receive queues an event. It never waits.
func (h *hook) receive(_ context.Context, e *wampcore.Event) {
	topic := h.Topic
	if e.Details.Topic != "" {
		topic = e.Details.Topic
	}
	p, now := e.Payload.Transcode(wampcore.JSON), time.Now()
	h.queue.put(delivery{
		event: event{
			Topic: topic, Publication: e.Publication, Timestamp: now.UTC().Format(time.RFC3339Nano), Args: p.Args, Kwargs: p.Kwargs,
			Details: details{
				e.Details.Publisher, e.Details.PublisherAuthID, e.Details.PublisherAuthRole, e.Details.TrustLevel, e.Details.Retained,
			},
		},
		at: now, trace: TraceOf(e.Details.Custom), size: len(p.Args) + len(p.Kwargs) + len(topic) + eventOverhead,
	})
}

// eventOverhead is what an event takes beside its payload.
const eventOverhead = 256

// deliver sends the events, one after another, or batch after batch. An event is dealt with before the next is sent.
func (h *hook) deliver() {
	n := 1
	if h.Format == FormatBatch {
		n = h.Batch
	}
	gap := false
	for {
		items, missing, err := h.next(n)
		if err != nil {
			return
		}
		gap = gap || missing
		h.counters.current.Store(items[0].at.UnixNano())
		h.counters.ahead.Store(int64(max(len(items), len(h.past.page))))
		out := h.observed(items, gap)
		h.counters.current.Store(0)
		switch {
		case out.cut:
			return
		case out.why != "":
			for i := range items {
				h.bury(&items[i], out)
			}
		default:
			gap = false
			h.counters.delivered.Add(uint64(len(items)))
		}
		if len(h.past.page) > 0 {
			h.queue.caughtUp(len(items))
		}
		for i := range items {
			h.past.settle(&items[i])
		}
	}
}

// observed sends a message, and tells the observer. A batch is of many traces: it is a part of none.
func (h *hook) observed(items []delivery, gap bool) fate {
	trace := items[0].trace
	if h.Format == FormatBatch {
		trace = Trace{}
	}
	op := Operation{Action: Delivering, URI: h.Topic}
	_, passed, done := observe(h.killed, h.hooks.cfg.Observer, op, trace)
	if passed != (Trace{}) {
		trace = passed
	}
	out := h.send(items, trace, gap)
	var err error
	switch {
	case out.cut:
		err = &wampcore.Error{URI: wampcore.ErrCanceled}
	case out.why != "":
		err = &wampcore.Error{URI: wampcore.ErrUnavailable, Message: out.why}
	}
	_ = done(err)
	return out
}

// fate is what became of a message.
type fate struct {
	why      string // it was not taken; empty: it was
	status   int
	attempts int
	cut      bool // the hook ends
}

// send sends a message until the service takes it, refuses it, or the time for that is over.
func (h *hook) send(items []delivery, trace Trace, gap bool) fate {
	m := h.encode(items)
	traceHeaders(m.header, trace)
	if gap {
		m.header.Set("Wamp-Gap", "true")
	}
	delays, deadline := h.delays(), time.Now().Add(time.Duration(h.RetryFor))
	for attempt := 1; ; attempt++ {
		m.header.Set("Wamp-Attempt", strconv.Itoa(attempt))
		f := h.deliverOnce(m)
		if f == nil {
			return fate{}
		}
		if h.killed.Err() != nil {
			return fate{cut: true}
		}
		h.fail(f.status, f.why)
		out := fate{why: f.why, status: f.status, attempts: attempt}
		if f.status == http.StatusGone {
			h.disable("the service answered 410 Gone")
			return fate{cut: true}
		}
		if !f.again {
			return out
		}
		wait := h.delay(delays, f)
		if time.Now().Add(wait).After(deadline) {
			return out
		}
		h.counters.retries.Add(1)
		if !h.pauseFor(h.stopped, wait) {
			return fate{cut: true}
		}
	}
}

// deliverOnce sends a message and returns why it was not taken.
func (h *hook) deliverOnce(m *message) *fault {
	ctx, cancel := context.WithTimeout(h.killed, time.Duration(h.Timeout))
	defer cancel()
	res, _, err := h.post(ctx, m)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &fault{why: "the service did not answer in time", again: true}
	case err != nil:
		return &fault{why: "the service cannot be reached: " + err.Error(), again: true}
	}
	defer func() { drain(res.Body) }()
	if res.StatusCode/100 == 2 {
		return nil
	}
	f := &fault{
		why:    fmt.Sprintf("the service answered %d %s", res.StatusCode, http.StatusText(res.StatusCode)),
		status: res.StatusCode, after: retryAfter(res.Header, time.Now()),
	}
	switch res.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		f.again = true
	default:
		f.again = res.StatusCode >= http.StatusInternalServerError
	}
	return f
}

// bury publishes what could not be delivered to the dead-letter topic, if there is one.
func (h *hook) bury(d *delivery, out fate) {
	h.counters.dead.Add(1)
	h.log.Warn().Uint64("publication", uint64(d.Publication)).Int("status", out.status).Int("attempts", out.attempts).
		Str("reason", out.why).Msg("an event could not be delivered by a hook")
	if h.DeadLetter == "" {
		return
	}
	in, err := h.deadLetter(d, out)
	if err != nil {
		h.fail(0, "the dead letter could not be written")
		return
	}
	ctx, cancel := context.WithTimeout(h.killed, time.Duration(h.RetryFor))
	defer cancel()
	for {
		var s *client.Session
		if s, err = h.redial.Wait(ctx); err != nil {
			break
		}
		if _, err = s.Publish(ctx, h.DeadLetter, in, wampcore.PublishOptions{Acknowledge: true}); err == nil || s.Err() == nil {
			break
		}
	}
	if err != nil {
		h.counters.lost.Add(1)
		h.fail(0, "the dead letter could not be published: "+err.Error())
	}
}

func (h *hook) deadLetter(d *delivery, out fate) (wampcore.Payload, error) {
	line, err := marshal(d.event)
	if err != nil {
		return wampcore.Payload{}, err
	}
	kwargs, err := marshal(struct {
		Hook     string `json:"hook"`
		Reason   string `json:"reason"`
		Status   int    `json:"status,omitzero"`
		Attempts int    `json:"attempts"`
	}{h.key.name, out.why, out.status, out.attempts})
	return wampcore.Payload{Encoding: wampcore.JSON, Args: fmt.Appendf(nil, "[%s]", line), Kwargs: kwargs}, err
}
