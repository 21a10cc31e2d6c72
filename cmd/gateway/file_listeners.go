package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/wampgate/wampgate/router"
)

// listenerSection is a listener of the configuration file. What it does not say is as the settings have it.
type listenerSection struct {
	Address                  string      `json:"address"`
	TLS                      *tlsSection `json:"tls"`
	Transports               []string    `json:"transports"`
	Authentication           []string    `json:"authentication"`
	MaxConnections           *count      `json:"max_connections"`
	MaxConnectionsPerAddress *count      `json:"max_connections_per_address"`
}

// tlsSection is what a listener shows, and asks for.
type tlsSection struct {
	Cert       string      `json:"cert"`
	Key        string      `json:"key"`
	ClientAuth *clientAuth `json:"client_auth"`
	ClientCA   string      `json:"client_ca"`
}

func (l *listenerSection) check(at place) {
	if _, err := checkAddress(l.Address); err != nil {
		at.in("address").bad("%v", err)
	}
	if t := l.TLS; t != nil && (t.ClientAuth == nil || *t.ClientAuth == clientAuthNone) != (t.ClientCA == "") {
		at.in("tls").badKey("client_ca goes with client_auth: optional or required")
	}
}

// entrance is where HTTP and native clients come in.
type entrance struct {
	address                                  string
	secure                                   *tlsSection // nil: there is no TLS
	transports                               transports
	methods                                  []string // of authentication that count here; nil: all
	maxConnections, maxConnectionsPerAddress int
}

// entrances are the listeners of the file, or those of the settings.
func (c *config) entrances() []entrance {
	general := entrance{
		transports: c.Transports, maxConnections: int(c.MaxConnections), maxConnectionsPerAddress: int(c.MaxConnectionsPerAddress),
	}
	secure := &tlsSection{c.TLSCert, c.TLSKey, &c.TLSClientAuth, c.TLSClientCA}
	var all []entrance
	if c.File == nil || len(c.File.Listeners) == 0 {
		for _, address := range c.Listen {
			e := general
			e.address = address
			all = append(all, e)
		}
		for _, address := range c.ListenTLS {
			e := general
			e.address, e.secure = address, secure
			all = append(all, e)
		}
		return all
	}
	for _, l := range c.File.Listeners {
		e := general
		e.address, e.methods = l.Address, methodNames(l.Authentication)
		if l.TLS != nil {
			e.secure = &tlsSection{cmp.Or(l.TLS.Cert, c.TLSCert), cmp.Or(l.TLS.Key, c.TLSKey), &c.TLSClientAuth, c.TLSClientCA}
			if l.TLS.ClientAuth != nil {
				e.secure.ClientAuth, e.secure.ClientCA = l.TLS.ClientAuth, l.TLS.ClientCA
			}
		}
		if l.Transports != nil {
			e.transports = l.Transports
		}
		e.maxConnections = int(or(&c.MaxConnections, l.MaxConnections))
		e.maxConnectionsPerAddress = int(or(&c.MaxConnectionsPerAddress, l.MaxConnectionsPerAddress))
		all = append(all, e)
	}
	return all
}

// named reports whether who comes in has to say who it is.
func (e *entrance) named() bool {
	return e.secure != nil && *e.secure.ClientAuth == clientAuthRequired || e.methods != nil && !slices.Contains(e.methods, anonymousMethod)
}

// validateFileListeners checks the listeners of the file together with the settings.
func (c *config) validateFileListeners(bad func(field, format string, args ...any)) {
	for i, e := range c.entrances() {
		where := fmt.Sprintf("the file's listeners.%d", i)
		host, err := checkAddress(e.address)
		if err == nil && !e.named() && !c.AllowAnonymousRemote && !isLocal(host) && c.anonymousMayAll() {
			bad("Config", "%s: %s", where, reachedByOthers(e.address))
		}
		if e.secure != nil && (e.secure.Cert == "" || e.secure.Key == "") {
			bad("Config", "%s.tls: want cert and key", where)
		}
	}
}

func reachedByOthers(address string) string {
	return fmt.Sprintf("%q is reached by other machines, and everybody is let in without authentication, and may do everything; "+
		"use 127.0.0.1, or set %s=true if that is meant", address, variable("AllowAnonymousRemote"))
}

type entranceKey struct{}

// in returns a context for the requests that come in here.
func (e *entrance) in(ctx context.Context) context.Context {
	return router.WithMethods(context.WithValue(ctx, entranceKey{}, e), e.methods)
}

// entranceOf returns where a request came in, nil if that is not known.
func entranceOf(ctx context.Context) *entrance {
	e, _ := ctx.Value(entranceKey{}).(*entrance)
	return e
}

// methodNames are the names that HELLO has for methods of authentication.
func methodNames(names []string) []string {
	all := slices.Clone(names)
	for i, name := range all {
		if name == "scram" {
			all[i] = "wamp-scram"
		}
	}
	return all
}
