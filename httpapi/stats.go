package httpapi

import (
	"net/http"
	"sync/atomic"
)

// Handler is the HTTP face.
type Handler struct {
	http.Handler

	a *api
}

// Stats is a snapshot of what was counted since the start.
type Stats struct {
	Refused     map[string]uint64 // requests, by why: every reason there is
	Idempotency IdempotencyStats
	Inbound     map[string]InboundStats // by the name of the webhook
	Crossbar    CrossbarStats
}

// IdempotencyStats are about requests with an Idempotency-Key.
type IdempotencyStats struct {
	Replayed   uint64 // answered from what is kept
	InFlight   uint64 // refused: the one before is not answered yet
	Mismatched uint64 // refused: another request had the key
	Evicted    uint64 // answers that were dropped before their time, for want of room
	Entries    int    // that are kept now, or open
	Bytes      int
}

// Stats returns the counters.
func (h *Handler) Stats() Stats {
	s := Stats{Refused: make(map[string]uint64, refusals)}
	for why := refusedHost; why < refusals; why++ {
		s.Refused[why.String()] = h.a.refused[why].Load()
	}
	s.Inbound = h.a.inboundStats()
	s.Crossbar = h.a.crossbars.stats()
	s.Idempotency = h.a.answers.stats()
	return s
}

// counters are counted by refusal.
type counters [refusals]atomic.Uint64

// refusal is why a request is refused before anything is done for it.
type refusal uint8

const (
	notRefused refusal = iota
	refusedHost
	refusedOrigin
	refusedHeaders
	refusedBody
	refusedURI
	refusedCredentials
	refusedAnonymous
	refusedUndecided
	refusedRealm
	refusedDraining
	refusedSessions
	refusedSignature
	refusedRate
	refusedCalls
	refusedStreams
	refusedFailures
	refusedTicket
	refusedTickets
	refusedQuery
	refusals
)

// String returns the reason as it stands in metrics.
func (r refusal) String() string {
	return [...]string{
		"", "host", "origin", "headers", "body", "uri", "credentials", "anonymous", "undecided", "realm", "draining", "sessions",
		"signature", "rate", "calls", "streams", "failures", "ticket", "tickets", "query",
	}[r]
}

// refuse is a problem that is counted.
func refuse(status int, why refusal, detail string) *problem {
	p := newProblem(status, detail)
	p.refusal = why
	return p
}
