package main

import (
	"fmt"
	"time"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// callsSection is how calls and publications over HTTP are answered.
type callsSection struct {
	Errors      []errorSection     `json:"errors"`
	Idempotency idempotencySection `json:"idempotency"`
}

// errorSection is the status of applications' errors.
type errorSection struct {
	URI    wampcore.URI `json:"uri"`
	Match  string       `json:"match"`
	Status int          `json:"status"`
}

// idempotencySection bounds the answers that are kept for requests that come again.
type idempotencySection struct {
	Entries count    `json:"entries"`
	Bytes   size     `json:"bytes"`
	Age     duration `json:"age"`
}

func (e *errorSection) match() wampcore.Match {
	return map[string]wampcore.Match{"prefix": wampcore.MatchPrefix, "wildcard": wampcore.MatchWildcard}[e.Match]
}

func (c *callsSection) check(at place) {
	if c == nil {
		return
	}
	seen := map[string]int{}
	for i := range c.Errors {
		e, at := &c.Errors[i], at.in("errors", i)
		switch {
		case !e.URI.ValidPattern(e.match(), false):
			at.in("uri").bad("%q is no URI to match by %s; want one such as com.example.error.gone, or com.example. with match: prefix", string(e.URI), e.match())
		case e.URI.Reserved():
			at.in("uri").bad("%q is the protocol's own: its status is fixed", string(e.URI))
		}
		key := fmt.Sprint(e.match(), e.URI)
		if first, twice := seen[key]; twice {
			at.badKey("it is about the same errors as number %d; make one of the two", first)
		}
		seen[key] = i
	}
}

// answers adds how calls are answered.
func (c *config) answers(api *httpapi.Config) {
	if c.File == nil || c.File.Calls == nil {
		return
	}
	s := c.File.Calls
	for i := range s.Errors {
		api.Errors = append(api.Errors, httpapi.ErrorStatus{URI: s.Errors[i].URI, Match: s.Errors[i].match(), Status: s.Errors[i].Status})
	}
	api.IdempotencyEntries, api.IdempotencyBytes = int(s.Idempotency.Entries), int(s.Idempotency.Bytes)
	api.IdempotencyAge = time.Duration(s.Idempotency.Age)
}
