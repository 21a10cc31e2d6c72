package httpapi

import (
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

// ErrorStatus is the HTTP status of applications' errors.
type ErrorStatus struct {
	URI    wampcore.URI
	Match  wampcore.Match
	Status int // 400 to 599
}

// statuses are the configured ones.
type statuses struct {
	exact    map[wampcore.URI]int
	patterns []ErrorStatus
}

func newStatuses(all []ErrorStatus) statuses {
	s := statuses{exact: map[wampcore.URI]int{}}
	for _, e := range all {
		if e.Match == wampcore.MatchExact {
			s.exact[e.URI] = e.Status
		} else {
			s.patterns = append(s.patterns, e)
		}
	}
	return s
}

// apply gives an application's error its status.
func (s *statuses) apply(p *problem) {
	if !p.application {
		return
	}
	p.application = false
	if status := s.of(p.WAMP.Error); status != 0 {
		p.Status = status
		p.complete()
	}
}

// of returns the status of an error, 0 if there is none: by the exact URI, else the longest prefix, else the first wildcard.
func (s *statuses) of(uri wampcore.URI) int {
	if status, ok := s.exact[uri]; ok {
		return status
	}
	longest, status := -1, 0
	for _, e := range s.patterns {
		switch {
		case e.Match == wampcore.MatchPrefix && len(e.URI) > longest && strings.HasPrefix(string(uri), string(e.URI)):
			longest, status = len(e.URI), e.Status
		case e.Match == wampcore.MatchWildcard && status == 0 && matchesWildcard(string(uri), string(e.URI)):
			status = e.Status
		}
	}
	return status
}

// matchesWildcard reports whether a URI has the components of a pattern, of which empty ones stand for any.
func matchesWildcard(uri, pattern string) bool {
	for {
		u, restOfURI, moreOfURI := strings.Cut(uri, ".")
		p, restOfPattern, moreOfPattern := strings.Cut(pattern, ".")
		switch {
		case p != "" && p != u, moreOfURI != moreOfPattern:
			return false
		case !moreOfURI:
			return true
		}
		uri, pattern = restOfURI, restOfPattern
	}
}
