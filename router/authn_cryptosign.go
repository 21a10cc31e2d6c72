package router

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// signed checks a signature by the public key that the peer has named, or by any of p's where it has named none. It takes as long where p
// has no such key.
func (p *Principal) signed(public ed25519.PublicKey, signature string, nonce, channel []byte) bool {
	if public != nil {
		ok := auth.VerifyCryptosign(public, signature, nonce, channel)
		return slices.ContainsFunc(p.PublicKeys, func(key ed25519.PublicKey) bool { return key.Equal(public) }) && ok
	}
	keys := p.PublicKeys
	if len(keys) == 0 {
		keys = []ed25519.PublicKey{make([]byte, ed25519.PublicKeySize)}
	}
	ok := false
	for _, key := range keys {
		ok = auth.VerifyCryptosign(key, signature, nonce, channel) || ok
	}
	return ok && len(p.PublicKeys) > 0
}

// Cryptosign has a challenge signed with a private key. A peer that does not say who it is has its public key, in hex, for a
// name. [RFC cryptosign]
type Cryptosign struct {
	Principals Principals
	// Key is what the router proves that it has, to clients that want to know: it signs their challenges. Use it for nothing else.
	// Optional.
	Key ed25519.PrivateKey
}

// Authenticate sends a challenge and checks its signature, bound to the channel by tls-exporter or tls-unique if the peer wants that and
// it is possible. A signature over anything else is refused. The RFC wants the public key in authextra.pubkey; wampy does not send it, and
// then any of the principal's will do.
func (c Cryptosign) Authenticate(ctx context.Context, l *Login) (Identity, error) {
	public, err := publicKey(l.Extra)
	if err != nil || public == nil && l.AuthID == "" {
		return Identity{}, &wampcore.Error{
			URI: wampcore.ErrAuthenticationDenied, Message: "authextra.pubkey has to be 32 octets in hex, and is needed where there is no authid",
		}
	}
	name := l.AuthID
	if name == "" {
		name = hex.EncodeToString(public)
	}
	p, known, err := find(ctx, c.Principals, l, name)
	if err != nil {
		return Identity{}, err
	}
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce) // it does not fail
	extra := map[string]any{"challenge": hex.EncodeToString(nonce), "channel_binding": nil}
	channel, err := c.greet(l, extra)
	if err != nil {
		return Identity{}, err
	}
	raw, err := challenge(l, extra)
	if err != nil {
		return Identity{}, err
	}
	answer, err := l.Challenge(ctx, raw)
	if err != nil {
		return Identity{}, err
	}
	if !p.signed(public, answer.Signature, nonce, channel) || !known {
		return Identity{}, errDenied
	}
	return p.identity(name), nil
}

// greet puts into extra what the peer wants of the router: a channel binding, whose id it returns, and a proof that it is the right one.
// [RFC cryptosign] Where a binding is not possible, the login goes on without, and the peer has to say whether it wants that.
func (c Cryptosign) greet(l *Login, extra map[string]any) (channel []byte, err error) {
	var hello struct {
		Binding   string `codec:"channel_binding"`
		Challenge string `codec:"challenge"`
	}
	if err := l.Extra.Decode(&hello); err != nil {
		return nil, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "authextra.channel_binding and challenge are strings"}
	}
	if hello.Binding != "" {
		if channel, err = l.channel(hello.Binding); err == nil {
			extra["channel_binding"] = hello.Binding
		}
	}
	if hello.Challenge == "" || len(c.Key) != ed25519.PrivateKeySize {
		return channel, nil
	}
	b, err := hex.DecodeString(hello.Challenge)
	if err != nil || len(b) != sha256.Size {
		return nil, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "authextra.challenge has to be 32 octets in hex"}
	}
	public, _ := c.Key.Public().(ed25519.PublicKey)
	extra["pubkey"] = hex.EncodeToString(public)
	extra["signature"], err = auth.CryptosignSignature(c.Key, b, channel)
	return channel, err
}

// publicKey returns what HELLO says of the peer's key, nil for nothing.
func publicKey(extra wampcore.Raw) (ed25519.PublicKey, error) {
	var hello struct {
		PublicKey string `codec:"pubkey"`
	}
	if err := extra.Decode(&hello); err != nil || hello.PublicKey == "" {
		return nil, err
	}
	b, err := hex.DecodeString(hello.PublicKey)
	if err == nil && len(b) != ed25519.PublicKeySize {
		err = errors.New("it has another length")
	}
	return b, err
}

// Holds reports whether the principal is still there.
func (c Cryptosign) Holds(ctx context.Context, who SessionDetails) (bool, error) {
	return holds(ctx, c.Principals, who)
}
