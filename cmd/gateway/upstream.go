package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// validateUpstream checks the address of the router elsewhere.
func (c *config) validateUpstream(bad func(field, format string, args ...any)) {
	if (c.UpstreamCert == "") != (c.UpstreamKey == "") {
		bad("UpstreamCert", "it goes with %s", variable("UpstreamKey"))
	}
	if c.UpstreamURL == "" {
		if c.UpstreamCA+c.UpstreamCert+c.UpstreamAuth != "" {
			bad("UpstreamURL", "set it, too")
		}
		return
	}
	if c.File != nil && len(c.File.Realms) > 0 {
		bad("UpstreamURL", "the file's realms, with their roles and principals, are the own router's: leave one of the two out")
	}
	switch {
	case c.UpstreamAuth != "" && (c.UpstreamAuthID == "" || c.UpstreamSecretFile == ""):
		bad("UpstreamAuth", "it goes with %s and %s", variable("UpstreamAuthID"), variable("UpstreamSecretFile"))
	case c.UpstreamAuth == "" && c.UpstreamAuthID+c.UpstreamSecretFile != "":
		bad("UpstreamAuth", "say how to log in: ticket, wampcra or scram")
	case c.UpstreamAuth != "" && logins[c.UpstreamAuth] == nil:
		bad("UpstreamAuth", "%q is no such method; want ticket, wampcra or scram", c.UpstreamAuth)
	}
	u, err := url.Parse(strings.TrimPrefix(c.UpstreamURL, "ws+"))
	if err != nil || !slices.Contains([]string{"ws", "wss", "tcp", "tls", "unix"}, u.Scheme) || u.Host+u.Path+u.Opaque == "" {
		bad("UpstreamURL", "want an address such as wss://router.example.com/ws, tcp://127.0.0.1:8080 or unix:///run/router.sock")
	}
}

// upstream returns what connects to the router elsewhere.
func (c *config) upstream() (func(context.Context) (wampcore.Transport, error), error) {
	cfg := transport.Config{MaxMessage: int(c.MaxMessage), PingInterval: pingInterval(c.PingInterval), Compression: c.Compression}
	cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.UpstreamCA != "" {
		pool, err := readCAs(c.UpstreamCA)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable("UpstreamCA"), err)
		}
		cfg.TLS.RootCAs = pool
	}
	if c.UpstreamCert != "" {
		cert, err := tls.LoadX509KeyPair(c.UpstreamCert, c.UpstreamKey)
		if err != nil {
			return nil, fmt.Errorf("%s and %s: %w", variable("UpstreamCert"), variable("UpstreamKey"), err)
		}
		cfg.TLS.Certificates = []tls.Certificate{cert}
	}
	return func(ctx context.Context) (wampcore.Transport, error) { return transport.Dial(ctx, c.UpstreamURL, cfg) }, nil
}

// logins are the ways to log in to the router elsewhere.
var logins = map[string]func(secret string) auth.Method{ //nolint:gochecknoglobals // a constant table
	"ticket": auth.Ticket, "wampcra": auth.CRA, "scram": auth.SCRAM,
}

// login returns whom the router elsewhere knows the gateway as.
func (c *config) login() (bridge.Login, error) {
	if c.UpstreamAuth == "" {
		return bridge.Login{}, nil
	}
	secret, err := readSecret(c.UpstreamSecretFile)
	if err != nil {
		return bridge.Login{}, fmt.Errorf("%s: %w", variable("UpstreamSecretFile"), err)
	}
	return bridge.Login{AuthID: c.UpstreamAuthID, Methods: []auth.Method{logins[c.UpstreamAuth](secret)}}, nil
}

func readCAs(file string) (*x509.CertPool, error) {
	pem, err := os.ReadFile(file) //nolint:gosec // the operator names it
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s has no certificate in PEM", file)
	}
	return pool, nil
}
