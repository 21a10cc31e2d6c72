package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/subtle"
	"crypto/tls"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

// Method is a way in which a client logs in. It may be used again and again, by many at once.
type Method struct {
	Name  string
	Begin func(authID string, channel *tls.ConnectionState) Login // channel is nil where there is no TLS
}

// Login is one use of a Method. Answer and Check may be nil: there is no challenge, or nothing to check.
type Login struct {
	Extra  map[string]any // for HELLO.Details.authextra
	Answer func(challenge wampcore.Raw) (signature string, extra map[string]any, err error)
	Check  func(*wampcore.Welcome) error // that the router is the right one, too
}

// Certificate logs in by the TLS client certificate that the transport has shown.
func Certificate() Method {
	return Method{Name: "tls", Begin: func(string, *tls.ConnectionState) Login { return Login{} }}
}

// Anonymous logs in as nobody in particular.
func Anonymous() Method {
	return Method{Name: "anonymous", Begin: func(string, *tls.ConnectionState) Login { return Login{} }}
}

// Ticket sends a ticket, as it is: use it over TLS alone. [RFC ticket-based authentication]
func Ticket(ticket string) Method {
	return Method{Name: "ticket", Begin: func(string, *tls.ConnectionState) Login {
		return Login{Answer: func(wampcore.Raw) (string, map[string]any, error) { return ticket, nil, nil }}
	}}
}

// CRA proves that the client knows a secret, salted if the router says so. [RFC WAMP-CRA]
func CRA(secret string) Method {
	return Method{Name: "wampcra", Begin: func(string, *tls.ConnectionState) Login {
		var session wampcore.ID
		return Login{
			Answer: func(challenge wampcore.Raw) (string, map[string]any, error) {
				signature, id, err := answerCRA(secret, challenge)
				session = id
				return signature, nil, err
			},
			Check: func(w *wampcore.Welcome) error {
				if session != 0 && session != w.Session {
					return errors.New("auth: the session is another one than the challenge was for")
				}
				return nil
			},
		}
	}}
}

func answerCRA(secret string, challenge wampcore.Raw) (signature string, session wampcore.ID, err error) {
	var in struct {
		Challenge  string `codec:"challenge"`
		Salt       string `codec:"salt"`
		KeyLen     int    `codec:"keylen"`
		Iterations int    `codec:"iterations"`
	}
	if err := challenge.Decode(&in); err != nil || in.Challenge == "" {
		return "", 0, fmt.Errorf("auth: the challenge has no text: %w", err)
	}
	var said struct {
		Session wampcore.ID `json:"session"`
	}
	_ = json.Unmarshal([]byte(in.Challenge), &said) // not all routers make it JSON
	key := secret
	if in.Salt != "" {
		if key, err = (CRASalt{in.Salt, in.Iterations, in.KeyLen}).Key(secret); err != nil {
			return "", 0, err
		}
	}
	return CRASignature(key, in.Challenge), said.Session, nil
}

// SCRAM proves that the client knows a password, of which the router has only a hash, and that the router has it. [RFC
// WAMP-SCRAM]
func SCRAM(password string) Method { return BoundSCRAM(password, "") }

// BoundSCRAM is SCRAM bound to the TLS connection: nobody can pass on what is said to another one. binding is TLSExporter. The login
// fails where there is no such binding.
func BoundSCRAM(password, binding string) Method {
	return Method{Name: "wamp-scram", Begin: func(authID string, channel *tls.ConnectionState) Login {
		s := &scram{password: password, x: SCRAMExchange{AuthID: authID, ClientNonce: Nonce(), ChannelBinding: binding}}
		extra := map[string]any{"nonce": s.x.ClientNonce, "channel_binding": nil}
		if binding != "" {
			extra["channel_binding"] = binding
			s.x.CBindData, s.unbound = ChannelID(binding, channel)
		}
		return Login{Extra: extra, Answer: s.answer, Check: s.check}
	}}
}

// scram is one login.
type scram struct {
	password string
	unbound  error // there is nothing to bind to
	x        SCRAMExchange
	verifier []byte
}

func (s *scram) answer(challenge wampcore.Raw) (string, map[string]any, error) {
	var in struct {
		Nonce      string `codec:"nonce"`
		Salt       string `codec:"salt"`
		KDF        string `codec:"kdf"`
		Iterations int    `codec:"iterations"`
		Memory     int    `codec:"memory"`
	}
	if err := errors.Join(challenge.Decode(&in), s.unbound); err != nil {
		return "", nil, fmt.Errorf("auth: the challenge: %w", err)
	}
	if !strings.HasPrefix(in.Nonce, s.x.ClientNonce) || len(in.Nonce) == len(s.x.ClientNonce) {
		return "", nil, errors.New("auth: the router's nonce does not begin with the client's")
	}
	salt, err := base64.StdEncoding.DecodeString(in.Salt)
	if err != nil {
		return "", nil, errors.New("auth: the salt is no base64")
	}
	s.x.ServerNonce, s.x.Salt, s.x.Iterations = in.Nonce, salt, in.Iterations
	proof, verifier, err := SCRAMProof(s.password, SCRAMParams{in.KDF, salt, in.Iterations, in.Memory}, &s.x)
	if err != nil {
		return "", nil, err
	}
	s.verifier = verifier
	extra := map[string]any{"nonce": in.Nonce, "channel_binding": nil, "cbind_data": nil}
	if s.x.ChannelBinding != "" {
		extra["channel_binding"], extra["cbind_data"] = s.x.ChannelBinding, base64.StdEncoding.EncodeToString(s.x.CBindData)
	}
	return base64.StdEncoding.EncodeToString(proof), extra, nil
}

func (s *scram) check(w *wampcore.Welcome) error {
	var in struct {
		Verifier string `codec:"verifier"`
	}
	err := w.Details.AuthExtra.Decode(&in)
	verifier, err2 := base64.StdEncoding.DecodeString(in.Verifier)
	if errors.Join(err, err2) != nil || s.verifier == nil || subtle.ConstantTimeCompare(verifier, s.verifier) != 1 {
		return errors.New("auth: the router does not know the password's hash")
	}
	return nil
}

// Cryptosign proves that the client has the private key to a public one that the router knows. [RFC cryptosign]
func Cryptosign(key ed25519.PrivateKey) Method { return StrictCryptosign(key, "", nil) }

// StrictCryptosign is Cryptosign bound to the TLS connection where binding is TLSExporter or TLSUnique, and with a router that has to
// prove that it has the private key to a public one, where that is not nil. The login fails where it is otherwise.
func StrictCryptosign(key ed25519.PrivateKey, binding string, router ed25519.PublicKey) Method {
	public, _ := key.Public().(ed25519.PublicKey)
	return Method{Name: "cryptosign", Begin: func(_ string, channel *tls.ConnectionState) Login {
		c := &cryptosign{key: key, binding: binding, router: router}
		extra := map[string]any{"pubkey": hex.EncodeToString(public)}
		if binding != "" {
			extra["channel_binding"] = binding
			c.channel, c.unbound = ChannelID(binding, channel)
		}
		if router != nil {
			c.challenge = make([]byte, challengeSize)
			_, _ = rand.Read(c.challenge) // it does not fail
			extra["challenge"] = hex.EncodeToString(c.challenge)
		}
		return Login{Extra: extra, Answer: c.answer}
	}}
}

// cryptosign is one login.
type cryptosign struct {
	key       ed25519.PrivateKey
	binding   string
	channel   []byte
	unbound   error // there is nothing to bind to
	router    ed25519.PublicKey
	challenge []byte // to the router
}

func (c *cryptosign) answer(challenge wampcore.Raw) (string, map[string]any, error) {
	var in struct {
		Challenge string  `codec:"challenge"`
		Binding   *string `codec:"channel_binding"`
		Signature string  `codec:"signature"`
	}
	if err := errors.Join(challenge.Decode(&in), c.unbound); err != nil {
		return "", nil, fmt.Errorf("auth: the challenge: %w", err)
	}
	if used := in.Binding; c.binding != "" && (used == nil || *used != c.binding) || c.binding == "" && used != nil && *used != "" {
		return "", nil, errors.New("auth: the router binds to the channel in another way than it was asked to")
	}
	if c.router != nil && !VerifyCryptosign(c.router, in.Signature, c.challenge, c.channel) {
		return "", nil, errors.New("auth: the router does not have the key that it has to have")
	}
	b, err := hex.DecodeString(in.Challenge)
	if err != nil {
		return "", nil, errors.New("auth: the challenge is no hex")
	}
	signature, err := CryptosignSignature(c.key, b, c.channel)
	return signature, nil, err
}
