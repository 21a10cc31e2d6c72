package router

import (
	"cmp"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// HistoryConfig bounds the events that a realm keeps for those who ask for them later. The zero value has good defaults.
type HistoryConfig struct {
	Off    bool
	Events int           // default 65,536
	Bytes  int           // of payloads, topics and 256 bytes for each event; default 64 MiB
	Age    time.Duration // default 1 h
}

func (c HistoryConfig) withDefaults() HistoryConfig {
	if c.Events <= 0 {
		c.Events = 1 << 16
	}
	if c.Bytes <= 0 {
		c.Bytes = 64 << 20
	}
	if c.Age <= 0 {
		c.Age = time.Hour
	}
	return c
}

// history is a realm's past: a ring of publications over all topics, in the order in which they were queued for their
// subscribers. Each has a number; those from first up to next are here. The realm's publishing lock guards it.
type history struct {
	cfg         HistoryConfig
	ring        []publication // its length is a power of 2
	first, next uint64
	bytes       int
	numbers     map[wampcore.ID]uint64
}

func newHistory(cfg HistoryConfig) history {
	return history{cfg: cfg.withDefaults(), numbers: map[wampcore.ID]uint64{}}
}

// reconfigure sets other bounds. What goes beyond them goes with the next publication.
func (h *history) reconfigure(cfg HistoryConfig) {
	h.cfg = cfg.withDefaults()
	for cfg.Off && h.first < h.next {
		h.evict()
	}
}

// remember keeps a publication, or that there was one. [RFC event history] Lists of session ids say nothing to sessions that come
// later: of what has them nothing is kept but the id, which a subscriber may name as the last that it has.
func (h *history) remember(p *publication) {
	switch {
	case h.cfg.Off:
	case p.only == nil || p.only.exclude == nil && p.only.eligible == nil:
		h.append(p)
	default:
		h.append(&publication{id: p.id, at: p.at})
	}
}

// last returns the newest publication, 0 if nothing is kept. There is one from the first question on: what comes after it can
// be asked for.
func (h *history) last() wampcore.ID {
	if h.cfg.Off {
		return 0
	}
	if h.next == 0 {
		h.append(&publication{id: wampcore.NewID(), at: time.Now()})
	}
	return h.at(h.next - 1).id
}

func (h *history) at(n uint64) *publication { return &h.ring[n&uint64(len(h.ring)-1)] }

func (h *history) append(p *publication) {
	for h.next > h.first && (int(h.next-h.first) >= h.cfg.Events || h.bytes+p.size() > h.cfg.Bytes ||
		p.at.Sub(h.at(h.first).at) > h.cfg.Age) {
		h.evict()
	}
	if int(h.next-h.first) == len(h.ring) {
		h.grow()
	}
	*h.at(h.next) = *p
	h.numbers[p.id] = h.next
	h.bytes += p.size()
	h.next++
}

func (h *history) evict() {
	oldest := h.at(h.first)
	delete(h.numbers, oldest.id)
	h.bytes -= oldest.size()
	*oldest = publication{}
	h.first++
}

func (h *history) grow() {
	old := *h
	h.ring = make([]publication, max(64, 2*len(old.ring)))
	for n := old.first; n < old.next; n++ {
		*h.at(n) = *old.at(n)
	}
}

// query is what is asked of the past. [RFC event history]
type query struct {
	subscriptions []asked
	places        index[int]   // in subscriptions, of the first with each pattern
	only          wampcore.URI // for patterns: this topic alone
	from, to      *wampcore.ID // publications
	after, before bool         // from and to themselves are not wanted
	earliest      time.Time    // the zero time: any
	latest        time.Time
	afterTime     bool
	beforeTime    bool
	reverse       bool
	limit         int
	counting      bool // more counts what is behind the limit, too
	asker         *session
}

// asked is a subscription whose past is asked for.
type asked struct {
	id    wampcore.ID
	topic wampcore.URI
	match wampcore.Match
}

// What one answer holds at the most.
const (
	maxHistoryEvents = 10_000
	maxHistoryBytes  = 8 << 20
)

// historyChunk is how many publications are looked at before the publishers get their turn: each may be looked at for many patterns.
const historyChunk = 64

// past is an answer.
type past struct {
	events []publication
	more   bool        // there is more than one answer holds
	gap    bool        // what the query names, or something after it, is not, or no longer, kept
	last   wampcore.ID // the newest publication, of any topic, when the query was begun; 0: nothing is kept
}

// find returns what the query asks for.
func (r *realm) find(q *query) (found past) {
	r.publishing.Lock()
	defer r.publishing.Unlock()
	h := &r.history
	found.last = h.last()
	low, high, gap := h.bounds(q)
	found.gap = gap
	if len(q.subscriptions) == 0 {
		return found
	}
	limit, size := maxHistoryEvents, 0
	if q.limit > 0 {
		limit = min(limit, q.limit)
	}
	for n := low; n < high; n++ {
		if (n-low)%historyChunk == historyChunk-1 { // nothing refers to the ring here
			r.publishing.Unlock()
			r.publishing.Lock()
		}
		p, evicted := h.look(q, n, low, high)
		switch {
		case evicted && q.reverse:
			return found
		case evicted:
			found.gap = true
			continue
		case !q.wants(p):
			continue
		case time.Since(p.at) > h.cfg.Age:
			found.gap = found.gap || q.from != nil
			continue
		}
		kept := len(found.events)
		if size += p.size(); kept == limit || kept > 0 && size > maxHistoryBytes {
			found.more = q.limit == 0 || kept < q.limit || q.counting
			return found
		}
		found.events = append(found.events, *p)
	}
	return found
}

// look returns the publication that comes n-th from low in a query's order, unless it was evicted meanwhile.
func (h *history) look(q *query, n, low, high uint64) (p *publication, evicted bool) {
	if q.reverse {
		n = high - 1 - (n - low)
	}
	if n < h.first {
		return nil, true
	}
	return h.at(n), false
}

// bounds returns the numbers that a query's publications stand for.
func (h *history) bounds(q *query) (low, high uint64, gap bool) {
	low, high = h.first, h.next
	if q.from != nil {
		n, ok := h.numbers[*q.from]
		switch {
		case !ok:
			gap = true
		case q.after:
			low = n + 1
		default:
			low = n
		}
	}
	if q.to != nil {
		n, ok := h.numbers[*q.to]
		switch {
		case !ok:
			gap = true
		case q.before:
			high = n
		default:
			high = n + 1
		}
	}
	return low, max(low, high), gap
}

func (q *query) wants(p *publication) bool {
	if q.of(p) == nil || q.only != "" && q.only != p.topic {
		return false
	}
	if p.only != nil && !p.only.admits(q.asker.authID, q.asker.authRole) {
		return false
	}
	if d := p.at.Compare(q.earliest); !q.earliest.IsZero() && (d < 0 || d == 0 && q.afterTime) {
		return false
	}
	if d := p.at.Compare(q.latest); !q.latest.IsZero() && (d > 0 || d == 0 && q.beforeTime) {
		return false
	}
	return true
}

// of returns the first of the subscriptions that a publication is for, nil if there is none.
func (q *query) of(p *publication) *asked {
	if p.topic == "" { // of which nothing is kept but the id
		return nil
	}
	first := -1
	q.places.each(p.topic, func(place *int, _ wampcore.Match) {
		if first < 0 || *place < first {
			first = *place
		}
	})
	if first < 0 {
		return nil
	}
	return &q.subscriptions[first]
}

// ask sets whose past it is about.
func (q *query) ask(subscriptions []asked) {
	q.subscriptions, q.places = subscriptions, newIndex[int]()
	for i, a := range subscriptions {
		if q.places.at(a.topic, a.match) == nil {
			q.places.set(a.topic, a.match, &i)
		}
	}
}

// remembered is what an event looks like in an answer.
func (p *publication) remembered(subscription wampcore.ID, withTopic bool) map[string]any {
	details := map[string]any{}
	if withTopic {
		details["topic"] = p.topic
	}
	if d := p.details; d != nil {
		if d.Publisher != 0 {
			details["publisher"] = d.Publisher
			details["publisher_authid"], details["publisher_authrole"] = d.PublisherAuthID, d.PublisherAuthRole
		}
		if d.TrustLevel != nil {
			details["trustlevel"] = *d.TrustLevel
		}
		for key, v := range map[string]string{
			"ppt_scheme": d.Passthru.Scheme, "ppt_serializer": d.Passthru.Serializer,
			"ppt_cipher": d.Passthru.Cipher, "ppt_keyid": d.Passthru.KeyID,
		} {
			if v != "" {
				details[key] = v
			}
		}
		for _, a := range d.Custom {
			details[a.Key] = a.Value
		}
	}
	event := map[string]any{
		"timestamp": timestamp(p.at), "subscription": subscription, "publication": p.id, "details": details,
	}
	if len(p.payload.Args) > 0 {
		event["args"] = wampcore.Raw{Encoding: p.payload.Encoding, Bytes: p.payload.Args}
	}
	if len(p.payload.Kwargs) > 0 {
		event["kwargs"] = wampcore.Raw{Encoding: p.payload.Encoding, Bytes: p.payload.Kwargs}
	}
	return event
}

// newQuery decodes the keywords of a query.
func newQuery(in wampcore.Payload) (*query, error) {
	var k struct {
		Reverse           bool         `codec:"reverse"`
		Limit             *int64       `codec:"limit"`
		FromTime          *string      `codec:"from_time"`
		AfterTime         *string      `codec:"after_time"`
		BeforeTime        *string      `codec:"before_time"`
		UntilTime         *string      `codec:"until_time"`
		Topic             wampcore.URI `codec:"topic"`
		FromPublication   *wampcore.ID `codec:"from_publication"`
		AfterPublication  *wampcore.ID `codec:"after_publication"`
		BeforePublication *wampcore.ID `codec:"before_publication"`
		UntilPublication  *wampcore.ID `codec:"until_publication"`
	}
	if err := in.DecodeKwargs(&k); err != nil {
		return nil, invalidArgument("the keywords are not those of wamp.subscription.get_events: " + err.Error())
	}
	q := &query{only: k.Topic, reverse: k.Reverse}
	switch {
	case k.Limit != nil && *k.Limit <= 0:
		return nil, invalidArgument("limit is positive")
	case k.FromPublication != nil && k.AfterPublication != nil || k.BeforePublication != nil && k.UntilPublication != nil ||
		k.FromTime != nil && k.AfterTime != nil || k.BeforeTime != nil && k.UntilTime != nil:
		return nil, invalidArgument("from and after, and before and until, exclude each other")
	}
	if k.Limit != nil {
		q.limit = int(min(*k.Limit, maxHistoryEvents))
	}
	q.from, q.after = cmp.Or(k.FromPublication, k.AfterPublication), k.AfterPublication != nil
	q.to, q.before = cmp.Or(k.UntilPublication, k.BeforePublication), k.BeforePublication != nil
	q.afterTime, q.beforeTime = k.AfterTime != nil, k.BeforeTime != nil
	for _, t := range []struct {
		to   *time.Time
		from *string
	}{{&q.earliest, cmp.Or(k.FromTime, k.AfterTime)}, {&q.latest, cmp.Or(k.UntilTime, k.BeforeTime)}} {
		if t.from == nil {
			continue
		}
		var err error
		if *t.to, err = time.Parse(time.RFC3339Nano, *t.from); err != nil {
			return nil, invalidArgument("times are as RFC 3339 has them, such as 2026-01-02T15:04:05Z")
		}
	}
	return q, nil
}
