package main

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// principalSection is somebody who may log in, by the methods that it has something for.
type principalSection struct {
	Role       string        `json:"role"`
	Ticket     *secret       `json:"ticket"`
	WAMPCRA    *craSection   `json:"wampcra"`
	SCRAM      *scramSection `json:"scram"`
	Cryptosign []string      `json:"cryptosign"`

	APIKeys map[string]apiKeySection `json:"api_keys"`

	principal router.Principal // made by check
}

// craSection is a secret that both ends know, or the key that a salt makes of it.
type craSection struct {
	Secret     secret `json:"secret"`
	Salt       string `json:"salt"`
	Iterations int    `json:"iterations"`
	KeyLen     int    `json:"keylen"`
}

// scramSection is what is kept of a password, in base64.
type scramSection struct {
	KDF        string `json:"kdf"`
	Salt       string `json:"salt"`
	Iterations int    `json:"iterations"`
	Memory     int    `json:"memory"`
	StoredKey  secret `json:"stored_key"`
	ServerKey  secret `json:"server_key"`
}

// methods are the methods of authentication that a principal has something for.
func (p *principalSection) methods() map[string]bool {
	return map[string]bool{
		"ticket": p.Ticket != nil, "wampcra": p.WAMPCRA != nil, "scram": p.SCRAM != nil, "cryptosign": len(p.Cryptosign) > 0,
	}
}

// check reads the secrets.
func (p *principalSection) check(at place) {
	p.principal.AuthRole = p.Role
	if p.Ticket != nil {
		p.Ticket.resolve(at.in("ticket"))
		p.principal.Ticket = p.Ticket.text
	}
	if c := p.WAMPCRA; c != nil {
		c.Secret.resolve(at.in("wampcra", "secret"))
		p.principal.Secret = c.Secret.text
		p.principal.Salt = auth.CRASalt{Salt: c.Salt, Iterations: c.Iterations, KeyLen: c.KeyLen}
		if c.Salt == "" && c.Iterations+c.KeyLen > 0 {
			at.in("wampcra").badKey("without a salt there are no iterations and no keylen; gateway hash wampcra makes all of it")
		}
		if c.Salt != "" && c.Iterations == 0 || c.Salt != "" && c.KeyLen == 0 {
			at.in("wampcra").badKey("a salt goes with iterations and keylen; gateway hash wampcra makes all of it")
		}
	}
	if p.SCRAM != nil {
		p.principal.SCRAM = p.SCRAM.credential(at.in("scram"))
	}
	for i, text := range p.Cryptosign {
		key, err := hex.DecodeString(text)
		if err != nil || len(key) != ed25519.PublicKeySize {
			at.in("cryptosign", i).bad("it is no public key; want 32 octets in hex, as gateway keygen makes them")
		}
		p.principal.PublicKeys = append(p.principal.PublicKeys, key)
	}
}

func (s *scramSection) credential(at place) *auth.SCRAMCredential {
	s.StoredKey.resolve(at.in("stored_key"))
	s.ServerKey.resolve(at.in("server_key"))
	c := &auth.SCRAMCredential{SCRAMParams: auth.SCRAMParams{KDF: s.KDF, Iterations: s.Iterations, Memory: s.Memory}}
	for _, part := range []struct {
		name, text string
		to         *[]byte
		least      int
	}{{"salt", s.Salt, &c.Salt, 8}, {"stored_key", s.StoredKey.text, &c.StoredKey, 32}, {"server_key", s.ServerKey.text, &c.ServerKey, 32}} {
		b, err := base64.StdEncoding.DecodeString(part.text)
		if part.text == "" {
			continue // which was said
		}
		if err != nil || len(b) < part.least || part.least == 32 && len(b) != 32 {
			at.in(part.name).bad("it is no base64 of the right length; gateway hash scram makes all of this")
		}
		*part.to = b
	}
	switch {
	case s.KDF == auth.KDFPBKDF2 && s.Iterations < 4096:
		at.in("iterations").bad("pbkdf2 with less than 4096 iterations is refused by clients")
	case s.KDF == auth.KDFPBKDF2 && s.Memory != 0:
		at.in("memory").bad("pbkdf2 has no memory; leave it out")
	case s.KDF == auth.KDFArgon2 && s.Iterations*s.Memory < 8<<10:
		at.in("memory").bad("argon2id13 with so little memory, in KiB, and so few iterations is refused by clients")
	}
	return c
}

// principals are those who may log in to a realm.
type principals map[string]*principalSection

// Principal returns the one of this name, nil if there is none.
func (ps principals) Principal(_ context.Context, _ wampcore.URI, authID string) (*router.Principal, error) {
	if p := ps[authID]; p != nil {
		found := p.principal
		return &found, nil
	}
	return nil, nil //nolint:nilnil // there is none
}
