package router

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"strings"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
)

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

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Holds reports whether the principal is still there.
func (s WAMPSCRAM) Holds(ctx context.Context, who SessionDetails) (bool, error) {
	return holds(ctx, s.Principals, who)
}
