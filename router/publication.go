package router

import (
	"slices"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// publication is what was published, once, whoever gets it. It is never changed.
type publication struct {
	id      wampcore.ID
	at      time.Time
	topic   wampcore.URI
	payload wampcore.Payload
	details *wampcore.EventDetails // what every subscriber is told; nil: nothing
	only    *audience              // nil: everybody
	exclude wampcore.ID            // the publisher, if it is excluded
}

// audience is who may get a publication: the black and white lists. All that are given have to agree; an eligible list
// that is empty means nobody. [RFC subscriber black and white listing]
type audience struct {
	exclude, eligible                 []wampcore.ID
	excludeAuthID, eligibleAuthID     []string
	excludeAuthRole, eligibleAuthRole []string
}

// newPublication takes over m's payload. Whether the publisher is disclosed is settled.
func newPublication(s *session, r *rules, m *wampcore.Publish) publication {
	p := publication{id: wampcore.NewID(), topic: m.Topic, payload: m.Payload.Compact()}
	o := &m.Options
	if !o.IncludeMe {
		p.exclude = s.id
	}
	if o.Exclude != nil || o.ExcludeAuthID != nil || o.ExcludeAuthRole != nil ||
		o.Eligible != nil || o.EligibleAuthID != nil || o.EligibleAuthRole != nil {
		p.only = &audience{
			o.Exclude, o.Eligible, o.ExcludeAuthID, o.EligibleAuthID, o.ExcludeAuthRole, o.EligibleAuthRole,
		}
	}
	level := r.trustLevel
	if o.DiscloseMe || level != nil || o.Passthru.Scheme != "" || len(o.Custom) > 0 {
		p.details = &wampcore.EventDetails{TrustLevel: level, Passthru: o.Passthru, Custom: o.Custom}
		if o.DiscloseMe {
			p.details.Publisher, p.details.PublisherAuthID, p.details.PublisherAuthRole = s.id, s.authID, s.authRole
		}
	}
	return p
}

func (p *publication) eligible(s *session) bool {
	return s.id != p.exclude && (p.only == nil || p.only.has(s))
}

func (a *audience) has(s *session) bool {
	return !slices.Contains(a.exclude, s.id) &&
		(a.eligible == nil || slices.Contains(a.eligible, s.id)) &&
		a.admits(s.authID, s.authRole)
}

// admits is has for what outlives sessions.
func (a *audience) admits(authID, authRole string) bool {
	return !slices.Contains(a.excludeAuthID, authID) &&
		!slices.Contains(a.excludeAuthRole, authRole) &&
		(a.eligibleAuthID == nil || slices.Contains(a.eligibleAuthID, authID)) &&
		(a.eligibleAuthRole == nil || slices.Contains(a.eligibleAuthRole, authRole))
}

// event returns the EVENT of a subscription.
func (p *publication) event(sub *subscription) *wampcore.Event {
	e := &wampcore.Event{Subscription: sub.id, Publication: p.id, Payload: p.payload}
	if p.details != nil {
		e.Details = *p.details
	}
	if sub.match != wampcore.MatchExact {
		e.Details.Topic = p.topic
	}
	return e
}

// size is what the publication counts where it is kept, in bytes.
func (p *publication) size() int { return p.payload.Size() + len(p.topic) + publicationOverhead }

const publicationOverhead = 256
