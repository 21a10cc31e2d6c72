package main

import (
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
)

func join(tb testing.TB, g *gateway, realm wampcore.URI, authID string, methods ...auth.Method) (*client.Session, error) {
	tb.Helper()
	s, err := client.Join(tb.Context(), g.router.Dial(), client.Config{Realm: realm, AuthID: authID, Auth: methods})
	if err == nil {
		tb.Cleanup(func() { _ = s.Close(context.Background()) })
	}
	return s, err
}

// issuer returns the name of a file with its public key, and what signs tokens.
func issuer(tb testing.TB, seed string) (file string, sign func(claims map[string]any) string) {
	tb.Helper()
	key := ed25519.NewKeyFromSeed([]byte(strings.Repeat(seed, 32)))
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		tb.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: key}, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return written(tb, string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))), func(claims map[string]any) string {
		text, err := jwt.Signed(signer).Claims(claims).Serialize()
		if err != nil {
			tb.Fatal(err)
		}
		return text
	}
}

func TestTokensAreTicketsOfTheirRealms(t *testing.T) {
	keys, sign := issuer(t, "k")
	_, forge := issuer(t, "f")
	text := `
http:
  jwt: [{issuer: "https://id.example", audiences: [wampgate], keys_file: "` + keys + `", role: backend, realms: [realm1]}]
realms:
  realm1: {authentication: {ticket: {jwt: true}}, principals: {ann: {role: backend, ticket: "t"}}}
  realm2: {authentication: {ticket: {jwt: true}}}
  realm3: {authentication: {ticket: }}
settings: {realm: realm1}
`
	g, file, _ := running(t, text)
	claims := map[string]any{"iss": "https://id.example", "aud": "wampgate", "sub": "joe", "exp": time.Now().Add(time.Hour).Unix()}
	good := sign(claims)
	s, err := join(t, g, "realm1", "", auth.Ticket(good))
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Welcome().Details; d.AuthID != "joe" || d.AuthRole != "backend" || d.AuthProvider != "https://id.example" {
		t.Errorf("got %+v", d)
	}
	if _, err := join(t, g, "realm1", "ann", auth.Ticket("t")); err != nil {
		t.Errorf("a principal's ticket: %v", err)
	}
	claims["exp"] = time.Now().Add(-time.Hour).Unix()
	for name, c := range map[string]struct {
		realm wampcore.URI
		token string
	}{
		"another realm": {"realm2", good}, "a realm without tokens": {"realm3", good}, "expired": {"realm1", sign(claims)},
		"forged":   {"realm1", forge(map[string]any{"iss": "https://id.example", "aud": "wampgate", "sub": "joe", "exp": time.Now().Add(time.Hour).Unix()})},
		"no token": {"realm1", "x"},
	} {
		if _, err := join(t, g, c.realm, "joe", auth.Ticket(c.token)); !errors.Is(err, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied}) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	rewrite(t, file, text+"# nothing is different\n")
	g.reload()
	if _, err := s.Call(t.Context(), "wamp.session.count", wampcore.Payload{}, wampcore.CallOptions{}); err != nil {
		t.Errorf("after a reload: %v", err)
	}
	rewrite(t, file, strings.Replace(text, "https://id.example", "https://other.example", 1))
	g.reload()
	soon, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	select {
	case <-s.Done():
	case <-soon.Done():
		t.Error("a session goes on whose issuer is not believed any more")
	}
}

func TestRealmsOnDemandHaveTheRulesOfTheirTemplate(t *testing.T) {
	g, _, _ := running(t, `
realms:
  realm1:
  com.example.tenant.:
    on_demand: {match: prefix, max: 1}
    authentication: {ticket: }
    principals: {ann: {role: tenant, ticket: "t"}}
    roles: {tenant: {permissions: [{uri: com., match: prefix, allow: [subscribe]}]}}
`)
	s, err := join(t, g, "com.example.tenant.a", "ann", auth.Ticket("t"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Call(t.Context(), "com.x", wampcore.Payload{}, wampcore.CallOptions{}); !errors.Is(err, &wampcore.Error{URI: wampcore.ErrNotAuthorized}) {
		t.Errorf("got %v", err)
	}
	for realm, want := range map[wampcore.URI]wampcore.URI{
		"com.example.tenant.b": wampcore.ErrLimitExceeded, "com.example.other": wampcore.ErrNoSuchRealm,
	} {
		if _, err := join(t, g, realm, "ann", auth.Ticket("t")); !errors.Is(err, &wampcore.Error{URI: want}) {
			t.Errorf("%s: got %v, want %s", realm, err, want)
		}
	}
}

func TestTheRouterProvesItsOwnKeyToClientsThatWantToKnow(t *testing.T) {
	mine, own := ed25519.NewKeyFromSeed([]byte(strings.Repeat("m", 32))), ed25519.NewKeyFromSeed([]byte(strings.Repeat("o", 32)))
	public := func(key ed25519.PrivateKey) ed25519.PublicKey { return key.Public().(ed25519.PublicKey) }
	g, _, _ := running(t, `
realms:
  realm1:
    authentication: {cryptosign: {key: "`+hex.EncodeToString(own.Seed())+`"}}
    principals: {joe: {role: backend, cryptosign: ["`+hex.EncodeToString(public(mine))+`"]}}
`)
	if _, err := join(t, g, "realm1", "joe", auth.StrictCryptosign(mine, "", public(own))); err != nil {
		t.Error(err)
	}
	if _, err := join(t, g, "realm1", "joe", auth.StrictCryptosign(mine, "", public(mine))); err == nil {
		t.Error("a router with another key is believed")
	}
}
