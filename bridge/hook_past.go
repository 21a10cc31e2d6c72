package bridge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

const (
	pastPage   = 64   // events that are read from the history at once
	maxSettled = 1024 // events that are remembered, so that none is delivered twice
	tryCursors = 16   // of them that are tried as a cursor
	cursorSkew = 5 * time.Second
)

// past is a hook's place in the event history: the publications that were dealt with last, the newest at the end. One goroutine
// has it.
type past struct {
	settled []wampcore.ID
	known   map[wampcore.ID]bool
	at      time.Time  // of the newest; before there is one, since when there is the hook
	page    []delivery // what was read, and is not dealt with
	more    bool       // there is more behind it
}

// settle remembers that an event was dealt with.
func (p *past) settle(d *delivery) {
	if p.known == nil {
		p.known = map[wampcore.ID]bool{}
	}
	if len(p.settled) >= 2*maxSettled {
		for _, id := range p.settled[:maxSettled] {
			delete(p.known, id)
		}
		p.settled = slices.Clone(p.settled[maxSettled:])
	}
	p.settled = append(p.settled, d.Publication)
	p.known[d.Publication] = true
	p.at = d.at
}

// fresh returns what was not dealt with yet.
func (p *past) fresh(items []delivery) []delivery {
	return slices.DeleteFunc(items, func(d delivery) bool { return p.known[d.Publication] })
}

// next waits for events and returns up to n of them, in order. gap says that there may have been others before.
func (h *hook) next(n int) (items []delivery, gap bool, err error) {
	for {
		if err := h.stopped.Err(); err != nil {
			return nil, gap, err
		}
		if h.past.page = h.past.fresh(h.past.page); len(h.past.page) > 0 {
			n = min(n, len(h.past.page))
			return h.past.page[:n], gap, nil // they stay until they are settled
		}
		past := h.past.more
		if !past {
			items, past = h.queue.take(n)
		}
		if past {
			missing, err := h.readPast()
			if err != nil {
				h.wait(time.Second)
				continue
			}
			gap = gap || missing
			continue
		}
		if items = h.past.fresh(items); len(items) > 0 {
			return items, gap, nil
		}
		h.wait(-1)
	}
}

// wait waits until something comes, or for a while, if that is not negative, or until the hook is subscribed.
func (h *hook) wait(d time.Duration) {
	var over <-chan time.Time
	wake := h.queue.wake
	if d >= 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over, wake = timer.C, h.attached
	}
	select {
	case <-over:
	case <-wake:
	case <-h.stopped.Done():
	}
}

// readPast reads the events behind those that were dealt with from the router's history. An error is to be tried again.
func (h *hook) readPast() (gap bool, err error) {
	h.mu.Lock()
	standing := h.standing
	h.mu.Unlock()
	if standing == nil {
		return false, client.ErrDown
	}
	kept := h.queue.reading(h.past.more)
	page, gap, err := h.readBehind(standing)
	switch {
	case err != nil && isPassing(err):
		return false, err
	case err != nil: // it has none, or not for this principal
		h.log.Debug().Err(err).Msg("the router tells a hook nothing of the past")
		page, gap = pastEvents{}, true
	}
	if gap {
		h.queue.putBack(kept) // the history may not have it
	}
	h.past.page, h.past.more = page.events, page.more
	if !page.more {
		h.queue.read()
	}
	if gap {
		h.counters.gaps.Add(1)
		h.log.Warn().Msg("events for a hook are not kept any more")
	}
	return gap, nil
}

// isPassing reports whether it makes sense to ask again.
func isPassing(err error) bool {
	for _, passing := range []error{
		client.ErrDown, client.ErrClosed, context.Canceled, context.DeadlineExceeded, &wampcore.Error{URI: wampcore.ErrUnavailable},
		&wampcore.Error{URI: wampcore.ErrNoSuchSubscription}, &wampcore.Error{URI: wampcore.ErrTimeout},
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// readBehind asks for what follows the last event that was dealt with. One that the history has not kept may never have been
// kept: then one before it serves.
func (h *hook) readBehind(standing *client.Standing) (page pastEvents, gap bool, err error) {
	s := h.past.settled
	for i := range min(len(s), tryCursors) {
		page, err = h.readHistory(standing, map[string]any{"after_publication": s[len(s)-1-i]})
		if err != nil || !page.gap {
			return page, false, err
		}
	}
	from := h.past.at // since when there is the hook
	if len(s) > 0 {
		from = from.Add(-cursorSkew)
	}
	page, err = h.readHistory(standing, map[string]any{"from_time": from.UTC().Format(time.RFC3339Nano)})
	return page, page.gap || len(s) > 0, err
}

// pastEvents is an answer of the history.
type pastEvents struct {
	events    []delivery
	more, gap bool
}

func (h *hook) readHistory(standing *client.Standing, kwargs map[string]any) (pastEvents, error) {
	kwargs["limit"] = pastPage
	session, id := standing.Attached()
	in, err := wampcore.NewPayload(wampcore.JSON, []any{id}, kwargs)
	if err != nil {
		return pastEvents{}, err
	}
	ctx, cancel := context.WithTimeout(h.stopped, joinTimeout)
	defer cancel()
	out, err := session.Call(ctx, "wamp.subscription.get_events", in, wampcore.CallOptions{})
	if err != nil {
		return pastEvents{}, err
	}
	var said struct {
		More bool `codec:"more"`
		Gap  bool `codec:"gap"`
	}
	var events []struct {
		remembered

		Details struct {
			rememberedExtra

			TraceParent wampcore.Raw `codec:"_traceparent"`
			TraceState  wampcore.Raw `codec:"_tracestate"`
		} `codec:"details"`
	}
	err = errors.Join(out.DecodeKwargs(&said), wampcore.Raw{Encoding: out.Encoding, Bytes: out.Args}.Decode(&events))
	if err != nil {
		return pastEvents{}, fmt.Errorf("result of wamp.subscription.get_events: %w", err)
	}
	found := pastEvents{more: said.More || len(events) == pastPage, gap: said.Gap}
	for i := range events {
		e := &events[i]
		e.remembered.Details = e.Details.rememberedExtra
		found.events = append(found.events, h.remember(&e.remembered, e.Details.TraceParent, e.Details.TraceState))
	}
	return found, nil
}

// remember returns an event of the past as one to deliver.
func (h *hook) remember(e *remembered, traceParent, traceState wampcore.Raw) delivery {
	d := delivery{event: event{
		Topic: e.Details.Topic, Publication: e.Publication, Timestamp: e.Timestamp, Args: asJSON(e.Args), Kwargs: asJSON(e.Kwargs),
		Details: details{
			e.Details.Publisher, e.Details.PublisherAuthID, e.Details.PublisherAuthRole, e.Details.TrustLevel, false,
		},
	}}
	if d.Topic == "" {
		d.Topic = h.Topic
	}
	d.trace = TraceOf(wampcore.Attributes{{Key: "_traceparent", Value: traceParent}, {Key: "_tracestate", Value: traceState}})
	var err error
	if d.at, err = time.Parse(time.RFC3339Nano, e.Timestamp); err != nil {
		d.at = time.Now()
	}
	return d
}
