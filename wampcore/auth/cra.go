package auth

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
)

// CRASignature signs a challenge, byte for byte as it came: base64 of its HMAC-SHA256. [RFC WAMP-CRA]
func CRASignature(key, challenge string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(challenge))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// CRASalt is how a secret is salted: PBKDF2 with SHA-256. The RFC leaves the hash open; all implementations take this one, and
// the base64 text of what comes out for the key.
type CRASalt struct {
	Salt       string
	Iterations int // default 1000
	KeyLen     int // bytes; default 32
}

// Bounds of what a router may ask a client to compute.
const (
	maxCRAIterations = 10_000_000
	maxCRAKeyLen     = 1024
)

// Key returns the key that a secret makes, which is what a router stores.
func (s CRASalt) Key(secret string) (string, error) {
	iterations, keyLen := s.Iterations, s.KeyLen
	if iterations == 0 {
		iterations = 1000
	}
	if keyLen == 0 {
		keyLen = 32
	}
	if iterations < 0 || iterations > maxCRAIterations || keyLen < 0 || keyLen > maxCRAKeyLen {
		return "", fmt.Errorf("auth: salted with %d iterations and %d bytes, which is out of bounds", iterations, keyLen)
	}
	key, err := pbkdf2.Key(sha256.New, secret, []byte(s.Salt), iterations, keyLen)
	if err != nil {
		return "", fmt.Errorf("auth: %w", err)
	}
	return base64.StdEncoding.EncodeToString(key), nil
}

// Equal compares two texts in a time that does not tell where they differ.
func Equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b)) // nor how long they are
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}
