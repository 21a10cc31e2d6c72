package main

import (
	"maps"
	"slices"
	"time"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
)

// realmSection is a realm of the configuration file. What it does not say is as the settings have it.
type realmSection struct {
	OnDemand    *onDemandSection `json:"on_demand"`
	Strict      *bool            `json:"strict"`
	Operators   []string         `json:"operators"`
	Disclosure  *disclosure      `json:"disclosure"`
	TrustLevels map[string]int64 `json:"trust_levels"`
	History     *historySection  `json:"history"`

	Roles          map[string]*roleSection `json:"roles"`
	Authentication authentication          `json:"authentication"`
	Principals     principals              `json:"principals"`
}

// onDemandSection has realms made when they are asked for: the realm's name is a pattern.
type onDemandSection struct {
	Match       string    `json:"match"`
	Max         count     `json:"max"`
	IdleTimeout *duration `json:"idle_timeout"`
}

func (o *onDemandSection) match() wampcore.Match {
	if o.Match == "wildcard" {
		return wampcore.MatchWildcard
	}
	return wampcore.MatchPrefix
}

// historySection is what a realm keeps of the past.
type historySection struct {
	Events *count    `json:"events"`
	Bytes  *size     `json:"bytes"`
	Age    *duration `json:"age"`
}

func (r *realmSection) check(name wampcore.URI, at place) {
	if r.OnDemand != nil {
		if !name.ValidPattern(r.OnDemand.match(), false) || name == "" {
			at.badKey("%q is no pattern of realms; want a prefix such as com.example.tenant., or with match: wildcard one such as com..main", string(name))
		}
	} else if !name.Valid(false) {
		at.badKey("%q is no URI; want a name such as realm1 or com.example.main", string(name))
	}
	for name, role := range r.Roles {
		if role == nil { // it may nothing
			role = new(roleSection)
			r.Roles[name] = role
		}
		role.check(at.in("roles", name))
	}
	for name, p := range r.Principals {
		if p == nil {
			p = new(principalSection)
			r.Principals[name] = p
		}
		p.check(at.in("principals", name))
	}
	r.checkAuthentication(at)
}

// realms returns the settings of the realms: those of the file, or the one of the environment.
func (c *config) realms() []router.RealmConfig {
	if c.File == nil || len(c.File.Realms) == 0 {
		return []router.RealmConfig{c.realm(c.Realm, &realmSection{})}
	}
	all := make([]router.RealmConfig, 0, len(c.File.Realms))
	for _, name := range slices.Sorted(maps.Keys(c.File.Realms)) {
		all = append(all, c.realm(name, c.File.Realms[name]))
	}
	return all
}

// realm returns the settings of a realm.
func (c *config) realm(name wampcore.URI, s *realmSection) router.RealmConfig {
	h := s.History
	if h == nil {
		h = &historySection{}
	}
	age := or((*duration)(&c.HistoryAge), h.Age)
	rc := router.RealmConfig{
		Name:        name,
		Strict:      or(&c.Strict, s.Strict),
		Disclosure:  router.Disclosure(or(&c.Disclosure, s.Disclosure)),
		TrustLevels: c.TrustLevels,
		Operators:   c.Operators,
		History: router.HistoryConfig{
			Off: age == 0, Events: int(or(&c.HistoryEvents, h.Events)), Bytes: int(or(&c.HistoryBytes, h.Bytes)), Age: time.Duration(age),
		},
	}
	if o := s.OnDemand; o != nil {
		rc.OnDemand = &router.OnDemand{Match: o.match(), Max: int(o.Max)}
		if o.IdleTimeout != nil {
			rc.OnDemand.IdleTimeout = time.Duration(*o.IdleTimeout)
		}
	}
	if c.File != nil {
		rc.Authenticators = s.authenticators(c.File, name)
	}
	if s.Roles != nil {
		rc.Roles = map[string]router.Role{}
		for name, role := range s.Roles {
			rc.Roles[name] = role.role()
		}
	}
	if s.TrustLevels != nil {
		rc.TrustLevels = s.TrustLevels
	}
	if s.Operators != nil {
		rc.Operators = s.Operators
	}
	return rc
}

// or returns what special says, or else what general does.
func or[T any](general, special *T) T {
	if special != nil {
		return *special
	}
	return *general
}
