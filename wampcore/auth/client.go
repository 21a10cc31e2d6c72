package auth

import (
	"bytes"
	"crypto/ed25519"
	"crypto/subtle"
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
	Begin func(authID string) Login
}

// Login is one use of a Method. Answer and Check may be nil: there is no challenge, or nothing to check.
type Login struct {
	Extra  map[string]any // for HELLO.Details.authextra
	Answer func(challenge wampcore.Raw) (signature string, extra map[string]any, err error)
	Check  func(*wampcore.Welcome) error // that the router is the right one, too
}

// Anonymous logs in as nobody in particular.
func Anonymous() Method {
	return Method{Name: "anonymous", Begin: func(string) Login { return Login{} }}
}

// Ticket sends a ticket, as it is: use it over TLS alone. [RFC ticket-based authentication]
func Ticket(ticket string) Method {
	return Method{Name: "ticket", Begin: func(string) Login {
		return Login{Answer: func(wampcore.Raw) (string, map[string]any, error) { return ticket, nil, nil }}
	}}
}

// CRA proves that the client knows a secret, salted if the router says so. [RFC WAMP-CRA]
func CRA(secret string) Method {
	return Method{Name: "wampcra", Begin: func(string) Login {
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
func SCRAM(password string) Method {
	return Method{Name: "wamp-scram", Begin: func(authID string) Login {
		s := &scram{password: password, x: SCRAMExchange{AuthID: authID, ClientNonce: Nonce()}}
		return Login{
			Extra:  map[string]any{"nonce": s.x.ClientNonce, "channel_binding": nil},
			Answer: s.answer,
			Check:  s.check,
		}
	}}
}

// scram is one login.
type scram struct {
	password string
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
	if err := challenge.Decode(&in); err != nil {
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
	return base64.StdEncoding.EncodeToString(proof),
		map[string]any{"nonce": in.Nonce, "channel_binding": nil, "cbind_data": nil}, nil
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
func Cryptosign(key ed25519.PrivateKey) Method {
	public, _ := key.Public().(ed25519.PublicKey)
	return Method{Name: "cryptosign", Begin: func(string) Login {
		return Login{
			Extra: map[string]any{"pubkey": hex.EncodeToString(bytes.Clone(public))},
			Answer: func(challenge wampcore.Raw) (string, map[string]any, error) {
				signature, err := answerCryptosign(key, challenge)
				return signature, nil, err
			},
		}
	}}
}

func answerCryptosign(key ed25519.PrivateKey, challenge wampcore.Raw) (string, error) {
	var in struct {
		Challenge string `codec:"challenge"`
	}
	if err := challenge.Decode(&in); err != nil {
		return "", fmt.Errorf("auth: the challenge: %w", err)
	}
	b, err := hex.DecodeString(in.Challenge)
	if err != nil {
		return "", errors.New("auth: the challenge is no hex")
	}
	return CryptosignSignature(key, b, nil)
}
