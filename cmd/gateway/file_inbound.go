package main

import (
	"encoding/base64"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// inboundSection is a webhook that is taken in and published.
type inboundSection struct {
	Provider  string       `json:"provider"`
	Secrets   []secret     `json:"secrets"`
	Realm     wampcore.URI `json:"realm"`
	Role      string       `json:"role"`
	Topic     wampcore.URI `json:"topic"`
	Tolerance *duration    `json:"tolerance"`
}

func (s *inboundSection) check(name string, f *file, at place) {
	if strings.ContainsAny(name, "/?#% ") {
		at.badKey("%q stands in a path; want letters, digits and -", name)
	}
	for i := range s.Secrets {
		here := at.in("secrets", i)
		s.Secrets[i].resolve(here)
		if text, ok := strings.CutPrefix(s.Secrets[i].text, "whsec_"); ok && s.Provider == "standard" {
			if _, err := base64.StdEncoding.DecodeString(text); err != nil {
				here.bad("behind whsec_ there has to be base64")
			}
		}
	}
	if !s.Topic.Valid(false) || s.Topic.Reserved() {
		at.in("topic").bad("%q is no topic to publish to; want a URI such as com.example.hook", string(s.Topic))
	}
	f.checkPublisher(s.Realm, s.Role, at)
}

// checkServices checks the sections about services that speak HTTP alone.
func (f *file) checkServices(at place) {
	for name, s := range f.Inbound {
		s.check(name, f, at.in("inbound", name))
	}
	for name, s := range f.Crossbar {
		s.check(name, f, at.in("crossbar", name))
	}
	for name, s := range f.Routes {
		s.check(name, f, at.in("routes", name))
	}
}

// checkPublisher reports a realm or a role that there is not.
func (f *file) checkPublisher(realm wampcore.URI, role string, at place) {
	if realm == "" {
		if len(f.Realms) != 1 {
			return // the settings say which one is meant
		}
		for realm = range f.Realms {
		}
	}
	section, ok := f.Realms[realm]
	switch {
	case len(f.Realms) > 0 && !ok:
		at.in("realm").bad("the file has no realm %q", string(realm))
	case ok && section != nil && section.Roles != nil && role != "" && role != "anonymous":
		if _, ok := section.Roles[role]; !ok {
			at.in("role").bad("the realm %s has no role %q", string(realm), role)
		}
	}
}

// inbound returns the webhooks that are taken in.
func (c *config) inbound() map[string]httpapi.Inbound {
	if c.File == nil {
		return nil
	}
	all := map[string]httpapi.Inbound{}
	for _, name := range slices.Sorted(maps.Keys(c.File.Inbound)) {
		s := c.File.Inbound[name]
		in := httpapi.Inbound{Provider: s.Provider, Topic: s.Topic, Principal: c.service(s.Realm, s.Role, "inbound."+name)}
		for _, secret := range s.Secrets {
			in.Secrets = append(in.Secrets, secret.text)
		}
		if s.Tolerance != nil {
			in.Tolerance = time.Duration(*s.Tolerance)
		}
		all[name] = in
	}
	return all
}

// service is who does what the configuration has done in somebody's name. Without a role it is anonymous.
func (c *config) service(realm wampcore.URI, role, name string) bridge.Principal {
	if realm == "" {
		realm = c.Realm
	}
	if role == "" || role == "anonymous" {
		return bridge.Principal{Realm: realm}
	}
	return bridge.Principal{Realm: realm, AuthID: name, AuthRole: role, Method: "static", Provider: "configuration"}
}
