package main

import (
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/wampgate/wampgate/httpapi"
	"github.com/wampgate/wampgate/wampcore"
)

// crossbarSection is an endpoint of Crossbar.io's HTTP bridge, with the names that it has in a configuration of Crossbar's.
type crossbarSection struct {
	Type    string          `json:"type"`
	Realm   wampcore.URI    `json:"realm"`
	Role    string          `json:"role"`
	Options crossbarOptions `json:"options"`
}

type crossbarOptions struct {
	Key             string       `json:"key"`
	Secret          *secret      `json:"secret"`
	RequireTLS      bool         `json:"require_tls"`
	RequireIP       []string     `json:"require_ip"`
	PostBodyLimit   int64        `json:"post_body_limit"`
	TimestampDelta  *int64       `json:"timestamp_delta_limit"`
	Topic           wampcore.URI `json:"topic"`
	SuccessResponse *string      `json:"success_response"`
	ErrorResponse   *string      `json:"error_response"`
	GitHubSecret    *secret      `json:"github_secret"`

	networks []netip.Prefix // made by check
}

var pathName = regexp.MustCompile(`^[A-Za-z0-9._~-]+(/[A-Za-z0-9._~-]+)*$`)

func (s *crossbarSection) check(name string, f *file, at place) {
	if !pathName.MatchString(name) {
		at.badKey("%q is no path; want one such as publish or bridge/publish", name)
	}
	f.checkPublisher(s.Realm, s.Role, at)
	o, at := &s.Options, at.in("options")
	for _, one := range []struct {
		name   string
		secret *secret
	}{{"secret", o.Secret}, {"github_secret", o.GitHubSecret}} {
		if one.secret != nil {
			one.secret.resolve(at.in(one.name))
		}
	}
	if o.Secret != nil && o.Key == "" {
		at.badKey("a secret goes with a key")
	}
	for i, text := range o.RequireIP {
		network, err := netip.ParsePrefix(text)
		if addr, single := netip.ParseAddr(text); err != nil && single == nil {
			network, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			at.in("require_ip", i).bad("%q is no network; want one such as 10.0.0.0/8", text)
		}
		o.networks = append(o.networks, network)
	}
	switch hook := s.Type == string(httpapi.CrossbarWebhook); {
	case hook && (!o.Topic.Valid(false) || o.Topic.Reserved()):
		at.in("topic").bad("%q is no topic to publish to; want a URI such as com.example.hook", string(o.Topic))
	case hook && (o.Key != "" || o.Secret != nil || o.RequireTLS || len(o.RequireIP) > 0):
		at.badKey("a webhook has no key, secret, require_tls and require_ip; its github_secret says who it is from")
	case !hook && (o.Topic != "" || o.SuccessResponse != nil || o.ErrorResponse != nil || o.GitHubSecret != nil):
		at.badKey("topic, success_response, error_response and github_secret are for webhooks alone")
	}
}

// crossbars returns the endpoints of the compatible bridge, by path: those of the file, or a publisher and a caller.
func (c *config) crossbars() map[string]httpapi.Crossbar {
	if c.CrossbarPath == "" {
		return nil
	}
	sections := map[string]*crossbarSection{"publish": {Type: "publisher"}, "call": {Type: "caller"}}
	if c.File != nil && len(c.File.Crossbar) > 0 {
		sections = c.File.Crossbar
	}
	all := map[string]httpapi.Crossbar{}
	for name, s := range sections {
		o := &s.Options
		endpoint := httpapi.Crossbar{
			Kind: httpapi.CrossbarKind(s.Type), Principal: c.service(s.Realm, s.Role, "crossbar."+name),
			Key: o.Key, RequireTLS: o.RequireTLS, RequireIP: o.networks, BodyLimit: o.PostBodyLimit, TimestampDelta: 300 * time.Second,
			Topic: o.Topic, SuccessResponse: or(new("OK"), o.SuccessResponse), ErrorResponse: or(new("NOT OK"), o.ErrorResponse),
		}
		if o.TimestampDelta != nil {
			endpoint.TimestampDelta = time.Duration(*o.TimestampDelta) * time.Second
		}
		if o.Secret != nil {
			endpoint.Secret = o.Secret.text
		}
		if o.GitHubSecret != nil {
			endpoint.GitHubSecret = o.GitHubSecret.text
		}
		all[strings.TrimSuffix(c.CrossbarPath, "/")+"/"+name] = endpoint
	}
	return all
}

// validateCrossbar checks the path of the compatible bridge.
func (c *config) validateCrossbar(bad func(field, format string, args ...any)) {
	path := strings.TrimSuffix(c.CrossbarPath, "/")
	switch {
	case c.CrossbarPath == "" && c.File != nil && len(c.File.Crossbar) > 0:
		bad("CrossbarPath", "the file has endpoints of Crossbar.io's bridge; say below which path, such as /crossbar, or /")
	case c.CrossbarPath != "" && c.CrossbarPath != "/" && (!strings.HasPrefix(path, "/") || !pathName.MatchString(path[1:])):
		bad("CrossbarPath", "%q is no path; want one such as /crossbar, or /", c.CrossbarPath)
	}
}
