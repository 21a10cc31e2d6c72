package router

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// Certificate lets in who has a TLS client certificate that the listener has verified. Its method is tls, and there is no challenge.
type Certificate struct {
	// Identify says whose certificate it is. The login expires with the certificate, unless the identity says otherwise.
	Identify func(cert *x509.Certificate) (Identity, bool)
}

// Authenticate looks at the certificate that came with the transport.
func (c Certificate) Authenticate(_ context.Context, l *Login) (Identity, error) {
	id, ok := c.identify(l.Peer.TLS)
	if !ok {
		return Identity{}, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "there is no client certificate, or it is nobody's here"}
	}
	return id, nil
}

func (c Certificate) identify(state *tls.ConnectionState) (Identity, bool) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return Identity{}, false
	}
	cert := state.VerifiedChains[0][0]
	id, ok := c.Identify(cert)
	if id.Expires.IsZero() {
		id.Expires = cert.NotAfter
	}
	return id, ok && time.Now().Before(id.Expires)
}

// Holds reports whether the certificate is still the same one's.
func (c Certificate) Holds(_ context.Context, who SessionDetails) (bool, error) {
	id, ok := c.identify(who.Peer.TLS)
	id = id.withDefaults("tls")
	return ok && id.AuthID == who.AuthID && id.AuthRole == who.AuthRole, nil
}
