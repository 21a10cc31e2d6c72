package router

import (
	"cmp"
	"slices"
	"strings"
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
// that is empty means nobody. [RFC subscriber black and white listing] They are sorted: each is looked at for each subscriber.
type audience struct {
	exclude, eligible                 []wampcore.ID
	excludeAuthID, eligibleAuthID     []string
	excludeAuthRole, eligibleAuthRole []string

	size int // in bytes
}

// newAudience returns nil where there are no lists.
func newAudience(o *wampcore.PublishOptions) *audience {
	if o.Exclude == nil && o.ExcludeAuthID == nil && o.ExcludeAuthRole == nil &&
		o.Eligible == nil && o.EligibleAuthID == nil && o.EligibleAuthRole == nil {
		return nil
	}
	a := &audience{
		exclude: sorted(o.Exclude), eligible: sorted(o.Eligible),
		excludeAuthID: sorted(o.ExcludeAuthID), eligibleAuthID: sorted(o.EligibleAuthID),
		excludeAuthRole: sorted(o.ExcludeAuthRole), eligibleAuthRole: sorted(o.EligibleAuthRole),
	}
	a.size = idBytes * (len(a.exclude) + len(a.eligible))
	for _, names := range [...][]string{a.excludeAuthID, a.eligibleAuthID, a.excludeAuthRole, a.eligibleAuthRole} {
		for _, name := range names {
			a.size += nameBytes + len(name)
		}
	}
	return a
}

// What an element of a list takes, but for a name's characters.
const (
	idBytes   = 8
	nameBytes = 16
)

// sorted returns a list in order. The publisher's own stays as it is.
func sorted[T cmp.Ordered](list []T) []T {
	if !slices.IsSorted(list) {
		list = slices.Clone(list)
		slices.Sort(list)
	}
	return list
}

// in reports whether a sorted list has v.
func in[T cmp.Ordered](list []T, v T) bool {
	_, found := slices.BinarySearch(list, v)
	return found
}

// newPublication takes over m's payload. Whether the publisher is disclosed is settled.
func newPublication(s *session, r *rules, m *wampcore.Publish) publication {
	p := publication{id: wampcore.NewID(), topic: m.Topic, payload: m.Payload.Compact()}
	if s.conn.peer.Transport == pipe { // it may be part of a request's whole URI
		p.topic = wampcore.URI(strings.Clone(string(p.topic)))
	}
	o := &m.Options
	if !o.IncludeMe {
		p.exclude = s.id
	}
	p.only = newAudience(o)
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
	return !in(a.exclude, s.id) &&
		(a.eligible == nil || in(a.eligible, s.id)) &&
		a.admits(s.authID, s.authRole)
}

// admits is has for what outlives sessions.
func (a *audience) admits(authID, authRole string) bool {
	return !in(a.excludeAuthID, authID) &&
		!in(a.excludeAuthRole, authRole) &&
		(a.eligibleAuthID == nil || in(a.eligibleAuthID, authID)) &&
		(a.eligibleAuthRole == nil || in(a.eligibleAuthRole, authRole))
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
func (p *publication) size() int {
	n := p.payload.Size() + len(p.topic) + publicationOverhead
	if p.details != nil {
		n += eventSize(p.details)
	}
	if p.only != nil {
		n += p.only.size
	}
	return n
}

const publicationOverhead = 256
