package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// hookSection is a hook of the configuration file: what the REST API takes, and with whose rights.
type hookSection struct {
	bridge.HookSpec

	Realm   wampcore.URI      `json:"realm"` // default: the realm of the settings
	Role    string            `json:"role"`  // default: anonymous
	Secrets []secret          `json:"secrets"`
	Headers map[string]secret `json:"headers"`
}

// check reads the secrets. What else may be wrong, only the settings tell: see validateHooks.
func (h *hookSection) check(at place) {
	for i := range h.Secrets {
		h.Secrets[i].resolve(at.in("secrets", i))
		h.HookSpec.Secrets = append(h.HookSpec.Secrets, h.Secrets[i].text)
	}
	for name, value := range h.Headers {
		value.resolve(at.in("headers", name))
		if h.HookSpec.Headers == nil {
			h.HookSpec.Headers = map[string]string{}
		}
		h.HookSpec.Headers[name] = value.text
	}
}

// hooks returns the hooks of the configuration file.
func (c *config) hooks() []bridge.ConfiguredHook {
	if c.File == nil {
		return nil
	}
	all := make([]bridge.ConfiguredHook, 0, len(c.File.Hooks))
	for _, name := range slices.Sorted(maps.Keys(c.File.Hooks)) {
		h := c.File.Hooks[name]
		p := bridge.Principal{Realm: h.Realm}
		if p.Realm == "" {
			p.Realm = c.Realm
		}
		if h.Role != "" {
			p.AuthID, p.AuthRole, p.Method, p.Provider = name, h.Role, "hook", "configuration"
		}
		all = append(all, bridge.ConfiguredHook{Principal: p, Name: name, Spec: h.HookSpec})
	}
	return all
}

// isLocalOnly reports whether this machine alone reaches the gateway. Where it has a name or a proxy, others come through that.
func (c *config) isLocalOnly() bool {
	if len(c.Hosts) > 0 || c.File != nil && c.File.HTTP != nil && len(c.File.HTTP.TrustedProxies) > 0 {
		return false
	}
	return !slices.ContainsFunc(c.entrances(), func(e entrance) bool {
		host, err := checkAddress(e.address)
		return err != nil || !isLocal(host)
	})
}

// egress returns what hooks may reach. Those that others make reach this machine only where others are of this machine.
func (c *config) egress() (configured, made *bridge.Egress, err error) {
	hosts := slices.Clone(c.HookHosts)
	if u, err := url.Parse(c.AppURL); err == nil && u.Hostname() != "" && u.Hostname() != "localhost" {
		hosts = append(hosts, u.Host)
	}
	if configured, err = bridge.NewEgress(bridge.EgressConfig{Hosts: hosts, Loopback: true}); err != nil {
		return nil, nil, err
	}
	made, err = bridge.NewEgress(bridge.EgressConfig{Hosts: c.HookHosts, Loopback: c.isLocalOnly()})
	return configured, made, err
}

func (c *config) validateHooks(bad func(field, format string, args ...any)) {
	for _, host := range c.HookHosts {
		if _, err := bridge.NewEgress(bridge.EgressConfig{Hosts: []string{host}}); err != nil {
			bad("HookHosts", "%v", err)
			return
		}
	}
	configured, _, err := c.egress()
	if err != nil {
		bad("AppURL", "%v", err)
		return
	}
	if c.AppURL == "" && (c.AppRole != "" || c.AppSecretsFile != "") {
		bad("AppURL", "it is not set, but what belongs to it")
	}
	if c.AppURL != "" {
		if _, err := configured.Check(c.AppURL); err != nil {
			bad("AppURL", "%v", err)
		}
	}
	for _, h := range c.hooks() {
		if err := configured.CheckHook(h); err != nil {
			bad("Config", "hooks.%s: %v", h.Name, err)
		}
		if !h.Realm.Valid(false) {
			bad("Config", "hooks.%s: the realm %q is no URI", h.Name, string(h.Realm))
		}
	}
}

// discovery returns which service is asked for its hooks.
func (c *config) discovery() (bridge.Discovery, error) {
	d := bridge.Discovery{URL: c.AppURL, Principal: bridge.Principal{Realm: c.Realm}}
	if c.AppRole != "" {
		d.Principal = bridge.Principal{Realm: c.Realm, AuthID: "app", AuthRole: c.AppRole, Method: "hook", Provider: "configuration"}
	}
	if c.AppSecretsFile == "" {
		return d, nil
	}
	text, err := os.ReadFile(c.AppSecretsFile)
	if err != nil {
		return d, fmt.Errorf("%s: %w", variable("AppSecretsFile"), err)
	}
	d.Secrets = strings.Fields(string(text))
	return d, nil
}

// newHooks returns the hooks, and begins to ask for those that are published.
func (g *gateway) newHooks(streams bridge.Config) (*bridge.Hooks, error) {
	configured, made, err := g.cfg.egress()
	if err != nil {
		return nil, err
	}
	hooks := bridge.NewHooks(bridge.HooksConfig{
		Dial: streams.Dial, Login: streams.Login, Egress: configured, REST: made, Log: g.log, Observer: streams.Observer, NoAnonymous: !g.cfg.isLocalOnly(),
		MaxAnswer: int(g.cfg.MaxBody),
	})
	err = hooks.Reconfigure(g.cfg.hooks())
	if err == nil && g.cfg.AppURL != "" {
		var app bridge.Discovery
		if app, err = g.cfg.discovery(); err == nil {
			err = hooks.Discover(app)
		}
	}
	if err != nil {
		return nil, errors.Join(err, hooks.Close(context.Background()))
	}
	return hooks, nil
}
