package main

import (
	"net/http"
	"slices"

	"github.com/wampgate/wampgate/httpapi"
)

// httpLimitsSection is what HTTP requests may take.
type httpLimitsSection struct {
	Default    *httpLimitSection            `json:"default"`
	Roles      map[string]*httpLimitSection `json:"roles"`
	Principals map[string]*httpLimitSection `json:"principals"`
	Failures   *failuresSection             `json:"failures"`
}

// httpLimitSection is what one principal may take. What is not said is as its role has it, or default, or httpapi.
type httpLimitSection struct {
	BodyBytes size    `json:"body_bytes"`
	Calls     count   `json:"calls"`
	Streams   count   `json:"streams"`
	Rate      float64 `json:"rate"`
	Burst     count   `json:"burst"`
}

// failuresSection is how many wrong credentials may come from one address.
type failuresSection struct {
	Rate  float64 `json:"rate"`
	Burst count   `json:"burst"`
}

func (l *httpLimitSection) limit() httpapi.Limit {
	if l == nil {
		return httpapi.Limit{}
	}
	return httpapi.Limit{Body: int64(l.BodyBytes), Calls: int(l.Calls), Streams: int(l.Streams), Rate: l.Rate, Burst: int(l.Burst)}
}

// httpLimits are the limits of HTTP requests.
func (c *config) httpLimits() httpapi.Limits {
	if c.File == nil || c.File.HTTP == nil || c.File.HTTP.Limits == nil {
		return httpapi.Limits{}
	}
	s := c.File.HTTP.Limits
	limits := httpapi.Limits{Default: s.Default.limit(), Roles: map[string]httpapi.Limit{}, Principals: map[string]httpapi.Limit{}}
	for name, l := range s.Roles {
		limits.Roles[name] = l.limit()
	}
	for name, l := range s.Principals {
		limits.Principals[name] = l.limit()
	}
	if s.Failures != nil {
		limits.FailureRate, limits.FailureBurst = s.Failures.Rate, int(s.Failures.Burst)
	}
	return limits
}

// fillIn adds what the file says of browsers and proxies, which waits for a restart.
func (c *config) fillIn(api *httpapi.Config) {
	api.Auth, api.Limits = c.httpAuth(), c.httpLimits()
	if c.File != nil && c.File.HTTP != nil {
		api.TrustedProxies, api.Credentials = c.File.HTTP.TrustedProxies, c.File.HTTP.BrowserCredentials
	}
}

// unnamed reports whether a request that does not say who it is from is refused where it came in.
func unnamed(r *http.Request) bool {
	e := entranceOf(r.Context())
	return e != nil && e.methods != nil && !slices.Contains(e.methods, anonymousMethod)
}
