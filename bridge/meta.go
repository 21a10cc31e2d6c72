package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// Entry is a registration or a subscription in a list.
type Entry struct {
	ID    wampcore.ID `json:"id"`
	Match string      `json:"match"`
}

// Kind is what a realm holds that can be listed by matching policy.
type Kind string

// The kinds.
const (
	Registrations Kind = "registration"
	Subscriptions Kind = "subscription"
)

// meta calls one of the router's own procedures and decodes its first result into out, if that is not nil.
func (b *Bridge) meta(ctx context.Context, p Principal, procedure wampcore.URI, args []any, kwargs map[string]any, out any) error {
	in, err := wampcore.NewPayload(wampcore.JSON, args, kwargs)
	if err != nil {
		return err
	}
	res, err := b.Call(ctx, p, procedure, CallRequest{Payload: in})
	if err != nil || out == nil {
		return err
	}
	if err := json.Unmarshal(FirstArg(res), out); err != nil {
		return fmt.Errorf("result of %s: %w", procedure, err)
	}
	return nil
}

// Sessions returns the ids of a realm's sessions in rising order.
func (b *Bridge) Sessions(ctx context.Context, p Principal) (ids []wampcore.ID, err error) {
	err = b.meta(ctx, p, "wamp.session.list", nil, nil, &ids)
	slices.Sort(ids)
	return ids, err
}

// Session returns what the router says of a session, in JSON.
func (b *Bridge) Session(ctx context.Context, p Principal, id wampcore.ID) (described json.RawMessage, err error) {
	err = b.meta(ctx, p, "wamp.session.get", []any{id}, nil, &described)
	return described, err
}

// Kill ends a session. reason and message may be empty.
func (b *Bridge) Kill(ctx context.Context, p Principal, id wampcore.ID, reason wampcore.URI, message string) error {
	kwargs := map[string]any{}
	if reason != "" {
		kwargs["reason"] = reason
	}
	if message != "" {
		kwargs["message"] = message
	}
	return b.meta(ctx, p, "wamp.session.kill", []any{id}, kwargs, nil)
}

// List returns a realm's registrations or subscriptions in rising order of their ids.
func (b *Bridge) List(ctx context.Context, p Principal, kind Kind) ([]Entry, error) {
	var lists map[string][]wampcore.ID
	if err := b.meta(ctx, p, wampcore.URI("wamp."+kind+".list"), nil, nil, &lists); err != nil {
		return nil, err
	}
	var all []Entry
	for match, ids := range lists {
		for _, id := range ids {
			all = append(all, Entry{id, match})
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return int(int64(a.ID) - int64(b.ID)) })
	return all, nil
}

// Describe returns what the router says of a registration or a subscription, with the ids of the sessions on it, in JSON.
func (b *Bridge) Describe(ctx context.Context, p Principal, kind Kind, id wampcore.ID) (json.RawMessage, error) {
	members := map[Kind]string{Registrations: "callees", Subscriptions: "subscribers"}[kind]
	described := map[string]json.RawMessage{}
	if err := b.meta(ctx, p, wampcore.URI("wamp."+kind+".get"), []any{id}, nil, &described); err != nil {
		return nil, err
	}
	var ids json.RawMessage
	if err := b.meta(ctx, p, wampcore.URI("wamp."+string(kind)+".list_"+members), []any{id}, nil, &ids); err != nil {
		return nil, err
	}
	described[members] = ids
	return marshal(described)
}

// Retained returns the event that a topic retains, in JSON, and its publication; nil if there is none. It asks on a session
// of its own: a router does not give a session what that has published itself.
func (b *Bridge) Retained(ctx context.Context, p Principal, topic wampcore.URI) (json.RawMessage, wampcore.ID, error) {
	s, err := b.own(ctx, p)
	if err != nil {
		return nil, 0, err
	}
	e, err := s.Retained(ctx, topic)
	if err := errors.Join(err, s.Close(ctx)); err != nil || e == nil {
		return nil, 0, err
	}
	return AppendEvent(nil, topic, e), e.Publication, nil
}

// HistoryQuery is what to return of the past of a topic, or of a pattern of topics.
type HistoryQuery struct {
	Topic Topic
	Limit int         // at most; 0: as many as the router gives
	After wampcore.ID // a publication; 0: from the beginning
}

// History is a part of the past.
type History struct {
	Events []json.RawMessage `json:"events"`
	More   bool              `json:"more"` // there is more behind the last of them
	Gap    bool              `json:"gap"`  // what After names is not kept: events may be missing

	Last wampcore.ID `json:"-"` // the publication of the last of Events; of none, where the realm is, as far as that is known
}

// event is an event as it is told in JSON where it is not streamed.
type event struct {
	Topic       wampcore.URI    `json:"topic"`
	Publication wampcore.ID     `json:"publication"`
	Timestamp   string          `json:"timestamp,omitzero"` // of the past alone
	Args        json.RawMessage `json:"args,omitempty"`
	Kwargs      json.RawMessage `json:"kwargs,omitempty"`
	Details     details         `json:"details"`
}

type details struct {
	Publisher         wampcore.ID `json:"publisher,omitzero"`
	PublisherAuthID   string      `json:"publisher_authid,omitzero"`
	PublisherAuthRole string      `json:"publisher_authrole,omitzero"`
	TrustLevel        *int64      `json:"trustlevel,omitempty"`
	Retained          bool        `json:"retained,omitzero"`
}

// remembered is an event as the router returns it.
type remembered struct {
	Timestamp   string          `codec:"timestamp"`
	Publication wampcore.ID     `codec:"publication"`
	Args        wampcore.Raw    `codec:"args"`
	Kwargs      wampcore.Raw    `codec:"kwargs"`
	Details     rememberedExtra `codec:"details"`
}

type rememberedExtra struct {
	Topic             wampcore.URI `codec:"topic"`
	Publisher         wampcore.ID  `codec:"publisher"`
	PublisherAuthID   string       `codec:"publisher_authid"`
	PublisherAuthRole string       `codec:"publisher_authrole"`
	TrustLevel        *int64       `codec:"trustlevel"`
}

// History returns events of the past, the oldest first. [RFC event history] The router answers for a subscription: there
// is one for as long as that takes.
func (b *Bridge) History(ctx context.Context, p Principal, q HistoryQuery) (*History, error) {
	s, err := b.session(ctx, p)
	if err != nil {
		return nil, err
	}
	sub, err := s.Subscribe(ctx, q.Topic.URI, func(context.Context, *wampcore.Event) {},
		wampcore.SubscribeOptions{Match: q.Topic.Match})
	if err != nil {
		return nil, err
	}
	kwargs := map[string]any{}
	if q.Limit > 0 {
		kwargs["limit"] = q.Limit + 1 // one more, to know whether there is more
	}
	if q.After != 0 {
		kwargs["after_publication"] = q.After
	}
	h, err := askHistory(ctx, s, q, []any{sub.ID()}, kwargs)
	if err == nil && len(h.Events) == 0 { // asked in a form of ours, the router also says where the realm is
		if own, err := askHistory(ctx, s, q, []any{[]any{sub.ID()}}, kwargs); err == nil {
			h = own
		}
	}
	if err := errors.Join(err, sub.Unsubscribe(context.WithoutCancel(ctx))); err != nil {
		return nil, err
	}
	return h, nil
}

func askHistory(ctx context.Context, s *client.Session, q HistoryQuery, args []any, kwargs map[string]any) (*History, error) {
	in, err := wampcore.NewPayload(wampcore.JSON, args, kwargs)
	if err != nil {
		return nil, err
	}
	out, err := s.Call(ctx, "wamp.subscription.get_events", in, wampcore.CallOptions{})
	if err != nil {
		return nil, err
	}
	return decodeHistory(q, out)
}

func decodeHistory(q HistoryQuery, p wampcore.Payload) (*History, error) {
	h := &History{Events: []json.RawMessage{}}
	var said struct {
		More bool        `codec:"more"`
		Gap  bool        `codec:"gap"`
		Last wampcore.ID `codec:"last"`
	}
	var events []remembered
	err := errors.Join(p.DecodeKwargs(&said), wampcore.Raw{Encoding: p.Encoding, Bytes: p.Args}.Decode(&events))
	if err != nil {
		return nil, fmt.Errorf("result of wamp.subscription.get_events: %w", err)
	}
	h.More, h.Gap, h.Last = said.More, said.Gap, cmp.Or(said.Last, q.After)
	if q.Limit > 0 && len(events) > q.Limit {
		events, h.More = events[:q.Limit], true
	}
	for _, e := range events {
		topic := e.Details.Topic
		if topic == "" {
			topic = q.Topic.URI
		}
		line, err := marshal(event{
			Topic: topic, Publication: e.Publication, Timestamp: e.Timestamp, Args: asJSON(e.Args), Kwargs: asJSON(e.Kwargs),
			Details: details{
				e.Details.Publisher, e.Details.PublisherAuthID, e.Details.PublisherAuthRole, e.Details.TrustLevel, false,
			},
		})
		if err != nil {
			return nil, err
		}
		h.Events = append(h.Events, line)
		h.Last = e.Publication
	}
	return h, nil
}

func asJSON(r wampcore.Raw) json.RawMessage {
	if len(r.Bytes) == 0 {
		return nil
	}
	return wampcore.Payload{Encoding: r.Encoding, Args: r.Bytes}.Transcode(wampcore.JSON).Args
}

// Encode returns h in JSON.
func (h *History) Encode() ([]byte, error) { return marshal(h) }
