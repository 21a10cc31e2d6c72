package router

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

// Principal is somebody who may log in, by the methods whose secret is set.
type Principal struct {
	AuthRole string
	AuthID   string       // default: the name that it was found by
	Provider string       // default: static
	Extra    wampcore.Raw // WELCOME.Details.authextra, a dict; optional

	Ticket     string                // ticket
	Secret     string                // WAMP-CRA: the secret, or the key that Salt makes of it
	Salt       auth.CRASalt          // WAMP-CRA; the zero value: Secret is not salted
	SCRAM      *auth.SCRAMCredential // WAMP-SCRAM
	PublicKeys []ed25519.PublicKey   // cryptosign
}

// Principals are those who may log in. The methods do not tell an unknown name from a wrong secret, neither by what they
// answer nor by how long that takes.
type Principals interface {
	// Principal returns the one of this name, nil if there is none.
	Principal(ctx context.Context, realm wampcore.URI, authID string) (*Principal, error)
}

// holds reports whether a login is still good: the principal is there, and has the role that it had.
func holds(ctx context.Context, from Principals, who SessionDetails) (bool, error) {
	if _, ok := from.(Finder); ok {
		return true, nil
	}
	if from == nil || who.Provider == dynamic { // it was asked about, and is not any more
		return false, nil
	}
	p, err := from.Principal(ctx, who.Realm, who.AuthID)
	return err != nil || p != nil && p.AuthRole == who.AuthRole, err
}

// Finder are Principals that want to know more of the login than the name. What they find holds until the session ends: it is not looked
// at again by Reconfigure.
type Finder interface {
	Find(ctx context.Context, l *Login, authID string) (*Principal, error)
}

// TicketVerifier decides whether a ticket lets somebody in, and as whom: a JWT, for one. A ticket that it does not take is an error with
// wamp.error.authentication_denied.
type TicketVerifier interface {
	VerifyTicket(ctx context.Context, l *Login, ticket string) (Identity, error)
}

// identity is who p is, found by a name.
func (p *Principal) identity(name string) Identity {
	return Identity{AuthID: cmp.Or(p.AuthID, name), AuthRole: p.AuthRole, Provider: p.Provider, Extra: p.Extra}
}

// errDenied is all that is ever said of a login that fails.
var errDenied = &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "the name or the secret is wrong"}

// find returns a principal that nobody can log in as where there is none.
func find(ctx context.Context, from Principals, l *Login, name string) (p *Principal, known bool, err error) {
	switch f, ok := from.(Finder); {
	case name == "" || from == nil:
	case ok:
		p, err = f.Find(ctx, l, name)
	default:
		p, err = from.Principal(ctx, l.Realm, name)
	}
	if p == nil {
		return &Principal{}, false, err
	}
	return p, true, err
}

func challenge(l *Login, extra map[string]any) (wampcore.Raw, error) {
	e := l.Peer.Encoding
	if e == 0 {
		e = wampcore.JSON
	}
	return wampcore.NewRaw(e, extra)
}

// Ticket compares tickets. [RFC ticket-based authentication]
type Ticket struct {
	Principals Principals // optional
	// Verifiers are asked, in turn, about tickets that are no principal's.
	Verifiers []TicketVerifier
}

// Authenticate asks for the ticket.
func (t Ticket) Authenticate(ctx context.Context, l *Login) (Identity, error) {
	p, known, err := find(ctx, t.Principals, l, l.AuthID)
	if err != nil {
		return Identity{}, err
	}
	answer, err := l.Challenge(ctx, wampcore.Raw{})
	if err != nil {
		return Identity{}, err
	}
	if equal := auth.Equal(answer.Signature, p.Ticket); !equal || !known || p.Ticket == "" {
		return t.verify(ctx, l, answer.Signature)
	}
	return p.identity(l.AuthID), nil
}

func (t Ticket) verify(ctx context.Context, l *Login, ticket string) (Identity, error) {
	for _, v := range t.Verifiers {
		id, err := v.VerifyTicket(ctx, l, ticket)
		if e, ok := errors.AsType[*wampcore.Error](err); ok && e.URI == wampcore.ErrAuthenticationDenied {
			continue
		}
		if id.Provider == "" {
			id.Provider = dynamic
		}
		return id, err
	}
	return Identity{}, errDenied
}

// WAMPCRA has a challenge signed with a secret that both know. [RFC WAMP-CRA]
type WAMPCRA struct {
	Principals Principals
	// Salt is what unknown names seem to be salted with: set Iterations and KeyLen as the known ones have them. The zero value
	// is right where they are not salted.
	Salt auth.CRASalt
	// Key makes the salts of unknown names; it should not change. Default: a new one each start.
	Key []byte
}

// Authenticate sends a challenge and checks its signature. The role is not told before: an unknown name has none.
func (c WAMPCRA) Authenticate(ctx context.Context, l *Login) (Identity, error) {
	p, known, err := find(ctx, c.Principals, l, l.AuthID)
	if err != nil {
		return Identity{}, err
	}
	salt := p.Salt
	known = known && p.Secret != "" // else it is unknown here, whatever other methods know it
	if mock := base64.StdEncoding.EncodeToString(mockSalt(c.Key, l.AuthID)); !known && c.Salt.Iterations > 0 {
		salt = c.Salt
		salt.Salt = mock
	}
	text, err := json.Marshal(struct { // in the order of the RFC's examples
		AuthID       string      `json:"authid"`
		AuthRole     string      `json:"authrole"`
		AuthMethod   string      `json:"authmethod"`
		AuthProvider string      `json:"authprovider"`
		Nonce        string      `json:"nonce"`
		Timestamp    string      `json:"timestamp"`
		Session      wampcore.ID `json:"session"`
	}{
		l.AuthID, "", l.Method, provider(c.Principals), auth.Nonce(), time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), l.Session,
	})
	if err != nil {
		return Identity{}, err
	}
	extra := map[string]any{"challenge": string(text)}
	if salt.Salt != "" {
		extra["salt"], extra["iterations"], extra["keylen"] = salt.Salt, salt.Iterations, salt.KeyLen
	}
	raw, err := challenge(l, extra)
	if err != nil {
		return Identity{}, err
	}
	answer, err := l.Challenge(ctx, raw)
	if err != nil {
		return Identity{}, err
	}
	if equal := auth.Equal(answer.Signature, auth.CRASignature(p.Secret, string(text))); !equal || !known {
		return Identity{}, errDenied
	}
	return p.identity(l.AuthID), nil
}

// provider is what is said of who lets in, whether there is a principal or not.
func provider(from Principals) string {
	if _, ok := from.(Finder); ok {
		return dynamic
	}
	return static
}

// mockSalt is the same for a name each time it is asked for.
func mockSalt(key []byte, name string) []byte {
	if len(key) == 0 {
		key = processKey
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(name))
	return mac.Sum(nil)[:16]
}

var processKey = []byte(rand.Text()) //nolint:gochecknoglobals // one for each start

// WAMPSCRAM has the client prove that it knows a password of which only a hash is stored, and proves that it has the hash.
// [RFC WAMP-SCRAM]
type WAMPSCRAM struct {
	Principals Principals
	// Params are what unknown names seem to be hashed with: set them as the known ones have them, but for the salt. Default:
	// auth.NewSCRAMParams.
	Params auth.SCRAMParams
	// Key makes the salts of unknown names; it should not change. Default: a new one each start.
	Key []byte
}

// scramHello and scramAnswer are what a client says.
type scramHello struct {
	Nonce   string  `codec:"nonce"`
	Binding *string `codec:"channel_binding"`
}

type scramAnswer struct {
	Nonce   string  `codec:"nonce"`
	Binding *string `codec:"channel_binding"`
	Data    *string `codec:"cbind_data"`
}

// Authenticate sends salt and nonce, and checks the proof, bound to the channel by tls-exporter if the peer wants that.
func (s WAMPSCRAM) Authenticate(ctx context.Context, l *Login) (Identity, error) {
	var hello scramHello
	if err := l.Extra.Decode(&hello); err != nil || hello.Nonce == "" || len(hello.Nonce) > 1024 || strings.ContainsRune(hello.Nonce, ',') {
		return Identity{}, &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "authextra has no nonce in base64"}
	}
	x := &auth.SCRAMExchange{AuthID: l.AuthID, ClientNonce: hello.Nonce, ServerNonce: hello.Nonce + auth.Nonce()}
	if hello.Binding != nil && *hello.Binding != "" {
		if *hello.Binding != auth.TLSExporter {
			return Identity{}, errBinding
		}
		var err error
		if x.CBindData, err = l.channel(auth.TLSExporter); err != nil {
			return Identity{}, errBinding
		}
		x.ChannelBinding = auth.TLSExporter
	}
	p, known, err := find(ctx, s.Principals, l, l.AuthID)
	if err != nil {
		return Identity{}, err
	}
	cred := s.credential(p, l.AuthID)
	x.Salt, x.Iterations = cred.Salt, cred.Iterations
	extra := map[string]any{
		"nonce": x.ServerNonce, "salt": base64.StdEncoding.EncodeToString(cred.Salt), "kdf": cred.KDF, "iterations": cred.Iterations,
		"memory": nil,
	}
	if cred.KDF == auth.KDFArgon2 {
		extra["memory"] = cred.Memory
	}
	raw, err := challenge(l, extra)
	if err != nil {
		return Identity{}, err
	}
	answer, err := l.Challenge(ctx, raw)
	if err != nil {
		return Identity{}, err
	}
	verifier, ok := verifySCRAM(cred, x, answer)
	if !ok || !known || p.SCRAM == nil {
		return Identity{}, errDenied
	}
	welcome := map[string]any{}
	if err := p.Extra.Decode(&welcome); err != nil {
		return Identity{}, err
	}
	welcome["verifier"] = base64.StdEncoding.EncodeToString(verifier)
	id := p.identity(l.AuthID)
	id.Extra, err = challenge(l, welcome)
	return id, err
}

// credential returns the principal's, or one that nobody has the password to, which is made in either case: it takes as long.
func (s WAMPSCRAM) credential(p *Principal, name string) auth.SCRAMCredential {
	params := s.Params
	if params.KDF == "" {
		params = auth.NewSCRAMParams()
	}
	params.Salt = mockSalt(s.Key, name)
	mock := auth.SCRAMCredential{SCRAMParams: params, StoredKey: []byte(rand.Text() + rand.Text())[:32], ServerKey: []byte(rand.Text())}
	if p.SCRAM != nil {
		return *p.SCRAM
	}
	return mock
}

func verifySCRAM(cred auth.SCRAMCredential, x *auth.SCRAMExchange, answer *wampcore.Authenticate) ([]byte, bool) {
	var in scramAnswer
	if err := answer.Extra.Decode(&in); err != nil || in.Nonce != x.ServerNonce {
		return nil, false
	}
	if text(in.Binding) != x.ChannelBinding || text(in.Data) != base64.StdEncoding.EncodeToString(x.CBindData) {
		return nil, false
	}
	proof, err := base64.StdEncoding.DecodeString(answer.Signature)
	if err != nil {
		return nil, false
	}
	return cred.Verify(proof, x)
}

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

var errBinding = &wampcore.Error{URI: wampcore.ErrAuthenticationDenied, Message: "the channel binding is not possible here; tls-exporter is over TLS"}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// channel returns what names the peer's TLS connection. There is none where the peer has not one connection.
func (l *Login) channel(binding string) ([]byte, error) {
	if l.Peer.Transport == "longpoll" {
		return auth.ChannelID(binding, nil)
	}
	return auth.ChannelID(binding, l.Peer.TLS)
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

// Holds reports whether the principal is still there, or who has verified the ticket would still do it. A TicketVerifier that is no Holder
// would.
func (t Ticket) Holds(ctx context.Context, who SessionDetails) (bool, error) {
	if ok, err := holds(ctx, t.Principals, who); who.Provider == static || ok || err != nil {
		return ok, err
	}
	for _, v := range t.Verifiers {
		h, ok := v.(Holder)
		if !ok {
			return true, nil
		}
		if ok, err := h.Holds(ctx, who); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// Holds reports whether the principal is still there.
func (c WAMPCRA) Holds(ctx context.Context, who SessionDetails) (bool, error) {
	return holds(ctx, c.Principals, who)
}

// Holds reports whether the principal is still there.
func (s WAMPSCRAM) Holds(ctx context.Context, who SessionDetails) (bool, error) {
	return holds(ctx, s.Principals, who)
}

// Holds reports whether the principal is still there.
func (c Cryptosign) Holds(ctx context.Context, who SessionDetails) (bool, error) {
	return holds(ctx, c.Principals, who)
}
