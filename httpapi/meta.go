package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// How many entries a page of a list has, and may have.
const (
	pageSize    = 100
	maxPageSize = 1000
)

// bounded gives a request that is not a call the time of one.
func (a *api) bounded(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeout(r.Context(), a.cfg.CallTimeout)
}

// sessions lists the ids of the realm's sessions.
func (a *api) sessions(w http.ResponseWriter, r *http.Request) error {
	ctx, cancel := a.bounded(r)
	defer cancel()
	ids, err := a.cfg.Bridge.Sessions(ctx, a.principal(r))
	if err != nil {
		return err
	}
	return writePage(w, r, "sessions", ids, func(id wampcore.ID) wampcore.ID { return id })
}

// entries lists the realm's registrations or subscriptions.
func (a *api) entries(kind bridge.Kind) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := a.bounded(r)
		defer cancel()
		all, err := a.cfg.Bridge.List(ctx, a.principal(r), kind)
		if err != nil {
			return err
		}
		return writePage(w, r, string(kind)+"s", all, func(e bridge.Entry) wampcore.ID { return e.ID })
	}
}

// writePage answers with the part of a list, in rising order of its ids, that the request wants.
func writePage[E any](w http.ResponseWriter, r *http.Request, name string, all []E, id func(E) wampcore.ID) error {
	if err := acceptsJSON(r); err != nil {
		return err
	}
	limit, after, err := page(r, pageSize)
	if err != nil {
		return err
	}
	for len(all) > 0 && id(all[0]) <= after {
		all = all[1:]
	}
	body := map[string]any{name: all}
	if len(all) > limit {
		body[name], body["next"] = all[:limit], id(all[limit-1])
	}
	if len(all) == 0 {
		body[name] = []E{}
	}
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	writeJSON(w, r, b)
	return nil
}

// page returns the limit and the id behind which to begin.
func page(r *http.Request, byDefault int) (limit int, after wampcore.ID, err error) {
	if limit, err = pageLimit(r, byDefault); err != nil {
		return 0, 0, err
	}
	if s := r.URL.Query().Get("after"); s != "" {
		if after, err = parseID(s); err != nil {
			return 0, 0, newProblem(http.StatusBadRequest, "after is the id of what the page before ended with")
		}
	}
	return limit, after, nil
}

func pageLimit(r *http.Request, byDefault int) (int, error) {
	s := r.URL.Query().Get("limit")
	if s == "" {
		return byDefault, nil
	}
	limit, err := strconv.Atoi(s)
	if err != nil || limit < 1 || limit > maxPageSize {
		return 0, newProblem(http.StatusBadRequest, "limit is a number from 1 to "+strconv.Itoa(maxPageSize))
	}
	return limit, nil
}

func parseID(s string) (wampcore.ID, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	if id := wampcore.ID(n); err == nil && id.Valid() {
		return id, nil
	}
	return 0, newProblem(http.StatusBadRequest, strconv.Quote(s)+" is no id, which is a number from 1 to 2^53")
}

func acceptsJSON(r *http.Request) error {
	if !accepts(r, "application/json") {
		return newProblem(http.StatusNotAcceptable, "this gateway answers with application/json")
	}
	return nil
}

// described answers with what get returns of the id in the path.
func (a *api) described(
	get func(ctx context.Context, p bridge.Principal, id wampcore.ID) (json.RawMessage, error),
) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if err := acceptsJSON(r); err != nil {
			return err
		}
		id, err := parseID(chi.URLParam(r, "id"))
		if err != nil {
			return err
		}
		ctx, cancel := a.bounded(r)
		defer cancel()
		b, err := get(ctx, a.principal(r), id)
		if err != nil {
			return err
		}
		writeJSON(w, r, b)
		return nil
	}
}

func (a *api) entry(kind bridge.Kind) func(http.ResponseWriter, *http.Request) error {
	return a.described(func(ctx context.Context, p bridge.Principal, id wampcore.ID) (json.RawMessage, error) {
		return a.cfg.Bridge.Describe(ctx, p, kind, id)
	})
}

// kill ends a session.
func (a *api) kill(w http.ResponseWriter, r *http.Request) error {
	id, err := parseID(chi.URLParam(r, "id"))
	if err != nil {
		return err
	}
	ctx, cancel := a.bounded(r)
	defer cancel()
	q := r.URL.Query()
	if err := a.cfg.Bridge.Kill(ctx, a.principal(r), id, wampcore.URI(q.Get("reason")), q.Get("message")); err != nil {
		return err
	}
	noContent(w)
	return nil
}

// cursorHeader carries the publication behind which to go on.
const cursorHeader = "Wamp-Cursor"

// retained answers with the event that a topic retains.
func (a *api) retained(w http.ResponseWriter, r *http.Request) error {
	topic, err := a.topicOf(r, wampcore.MatchExact)
	if err != nil {
		return err
	}
	ctx, cancel := a.bounded(r)
	defer cancel()
	b, publication, err := a.cfg.Bridge.Retained(ctx, a.principal(r), topic)
	switch {
	case err != nil:
		return err
	case b == nil:
		return newProblem(http.StatusNotFound, "nothing is retained of "+string(topic))
	}
	w.Header().Set(cursorHeader, bridge.Cursor(publication))
	writeJSON(w, r, b)
	return nil
}

// history answers with events of a topic's past.
func (a *api) history(w http.ResponseWriter, r *http.Request) error {
	match, err := parseMatch(r.URL.Query().Get("match"))
	if err != nil {
		return err
	}
	topic, err := a.topicOf(r, match)
	if err != nil {
		return err
	}
	limit, err := pageLimit(r, pageSize)
	if err != nil {
		return err
	}
	after := wampcore.ID(0)
	if s := r.URL.Query().Get("after"); s != "" {
		var ok bool
		if after, ok = bridge.ParseCursor(s); !ok {
			return newProblem(http.StatusBadRequest, "after is a cursor, such as the Wamp-Cursor of the page before, or the id of a publication")
		}
	}
	ctx, cancel := a.bounded(r)
	defer cancel()
	h, err := a.cfg.Bridge.History(ctx, a.principal(r), bridge.HistoryQuery{
		Topic: bridge.Topic{URI: topic, Match: match}, Limit: limit, After: after,
	})
	if err != nil {
		return err
	}
	b, err := h.Encode()
	if err != nil {
		return err
	}
	if h.Last != 0 {
		w.Header().Set(cursorHeader, bridge.Cursor(h.Last))
	}
	writeJSON(w, r, b)
	return nil
}

func (a *api) topicOf(r *http.Request, match wampcore.Match) (wampcore.URI, error) {
	if err := acceptsJSON(r); err != nil {
		return "", err
	}
	return a.pattern(r, "topic", match)
}
