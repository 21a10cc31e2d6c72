package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"runtime"

	"github.com/xdg-go/stringprep"
	"golang.org/x/crypto/argon2"
)

// The key derivation functions of WAMP-SCRAM.
const (
	KDFArgon2 = "argon2id13"
	KDFPBKDF2 = "pbkdf2"
)

// SCRAMParams are how a password is hashed. [RFC WAMP-SCRAM]
type SCRAMParams struct {
	KDF        string
	Salt       []byte
	Iterations int
	Memory     int // KiB; Argon2 alone
}

// NewSCRAMParams returns good ones, with a new salt: Argon2 over 64 MiB, which takes about a tenth of a second.
func NewSCRAMParams() SCRAMParams {
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // it does not fail
	return SCRAMParams{KDF: KDFArgon2, Salt: salt, Iterations: 3, Memory: 64 << 10}
}

// What a client computes for a router: neither so little that the password is easily guessed from what it sends, nor so
// much that it is the router's slave.
const (
	minPBKDF2Iterations = 4096
	maxPBKDF2Iterations = 10_000_000
	maxArgon2Iterations = 1000
	maxArgon2Memory     = 1 << 20 // 1 GiB
	argon2Length        = 32
)

// check refuses parameters that are unusually cheap, or absurdly expensive.
func (p SCRAMParams) check() error {
	var ok bool
	switch p.KDF {
	case KDFPBKDF2:
		ok = p.Iterations >= minPBKDF2Iterations && p.Iterations <= maxPBKDF2Iterations
	case KDFArgon2:
		ok = p.Iterations >= 1 && p.Iterations <= maxArgon2Iterations && p.Memory >= 8 && p.Memory <= maxArgon2Memory &&
			p.Iterations*p.Memory >= 8<<10
	default:
		return fmt.Errorf("auth: the key derivation function %q is not known", p.KDF)
	}
	if !ok {
		return fmt.Errorf("auth: %s with %d iterations and %d KiB is out of bounds", p.KDF, p.Iterations, p.Memory)
	}
	return nil
}

// hashing bounds how many passwords are hashed at once: each takes a processor, and up to 1 GiB.
var hashing = make(chan struct{}, runtime.NumCPU()) //nolint:gochecknoglobals // the machine has its processors once

// salted hashes a password, when it is its turn.
func (p SCRAMParams) salted(password string) ([]byte, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	password, err := stringprep.SASLprep.Prepare(password)
	if err != nil {
		return nil, errors.New("auth: the password has characters that SASLprep forbids")
	}
	hashing <- struct{}{}
	defer func() { <-hashing }()
	if p.KDF == KDFArgon2 {
		return argon2.IDKey([]byte(password), p.Salt, uint32(p.Iterations), uint32(p.Memory), 1, argon2Length), nil
	}
	return pbkdf2.Key(sha256.New, password, p.Salt, p.Iterations, sha256.Size)
}

// SCRAMCredential is what a router stores instead of a password: nobody can log in with it.
type SCRAMCredential struct {
	SCRAMParams

	StoredKey, ServerKey []byte
}

// NewSCRAMCredential hashes a password.
func NewSCRAMCredential(password string, p SCRAMParams) (SCRAMCredential, error) {
	salted, err := p.salted(password)
	if err != nil {
		return SCRAMCredential{}, err
	}
	client := sum(salted, "Client Key")
	stored := sha256.Sum256(client)
	return SCRAMCredential{SCRAMParams: p, StoredKey: stored[:], ServerKey: sum(salted, "Server Key")}, nil
}

func sum(key []byte, text string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

// SCRAMExchange is what both ends have said. Nonces are the texts that were sent; ServerNonce is the whole of it, which begins with
// the client's. ChannelBinding is the type, empty for none.
type SCRAMExchange struct {
	AuthID, ClientNonce, ServerNonce string
	Salt                             []byte
	Iterations                       int
	ChannelBinding                   string
	CBindData                        []byte
}

// message is RFC 5802's AuthMessage.
func (x *SCRAMExchange) message() (string, error) {
	authID, err := stringprep.SASLprep.Prepare(x.AuthID)
	if err != nil {
		return "", errors.New("auth: the authid has characters that SASLprep forbids")
	}
	header := "n,,"
	if x.ChannelBinding != "" {
		header = "p=" + x.ChannelBinding + ",,"
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("n=%s,r=%s,r=%s,s=%s,i=%d,c=%s,r=%s", escape(authID), x.ClientNonce, x.ServerNonce, b64(x.Salt),
		x.Iterations, b64(append([]byte(header), x.CBindData...)), x.ServerNonce), nil
}

// escape escapes a name as RFC 5802 has it.
func escape(name string) string {
	var b []byte
	for _, c := range []byte(name) {
		switch c {
		case ',':
			b = append(b, "=2C"...)
		case '=':
			b = append(b, "=3D"...)
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// SCRAMProof returns the ClientProof, and the ServerSignature that a router which knows the credential answers with.
func SCRAMProof(password string, p SCRAMParams, x *SCRAMExchange) (proof, verifier []byte, err error) {
	salted, err := p.salted(password)
	if err != nil {
		return nil, nil, err
	}
	message, err := x.message()
	if err != nil {
		return nil, nil, err
	}
	client := sum(salted, "Client Key")
	stored := sha256.Sum256(client)
	return xor(client, sum(stored[:], message)), sum(sum(salted, "Server Key"), message), nil
}

// Verify checks a ClientProof, and returns the ServerSignature.
func (c SCRAMCredential) Verify(proof []byte, x *SCRAMExchange) (verifier []byte, ok bool) {
	message, err := x.message()
	if err != nil || len(proof) != sha256.Size || len(c.StoredKey) != sha256.Size {
		return nil, false
	}
	stored := sha256.Sum256(xor(proof, sum(c.StoredKey, message)))
	return sum(c.ServerKey, message), hmac.Equal(stored[:], c.StoredKey)
}

func xor(a, b []byte) []byte {
	out := make([]byte, len(a))
	for i := range out {
		out[i] = a[i] ^ b[i]
	}
	return out
}

// Nonce returns 16 random octets in base64.
func Nonce() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // it does not fail
	return base64.StdEncoding.EncodeToString(b)
}
