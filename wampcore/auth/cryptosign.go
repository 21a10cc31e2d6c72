package auth

import (
	"crypto/ed25519"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
)

// challengeSize is the size of a challenge, and of what binds it to a channel.
const challengeSize = 32

// signed is what is signed: the challenge, bound to the channel if there is an id of one. [RFC cryptosign]
func signed(challenge, channel []byte) []byte {
	if len(channel) == challengeSize {
		return xor(challenge, channel)
	}
	return challenge
}

// CryptosignSignature signs a challenge of 32 octets, bound to a channel where its id of 32 octets is given: in hex, the signature
// and what was signed.
func CryptosignSignature(key ed25519.PrivateKey, challenge, channel []byte) (string, error) {
	if len(challenge) != challengeSize || len(channel) != 0 && len(channel) != challengeSize {
		return "", fmt.Errorf("auth: a challenge of %d octets on a channel whose id has %d: both have 32", len(challenge), len(channel))
	}
	if len(key) != ed25519.PrivateKeySize {
		return "", fmt.Errorf("auth: a key of %d octets is no Ed25519 key", len(key))
	}
	message := signed(challenge, channel)
	return hex.EncodeToString(append(ed25519.Sign(key, message), message...)), nil
}

// VerifyCryptosign checks a signature over this challenge, on this channel, and no other.
func VerifyCryptosign(key ed25519.PublicKey, signature string, challenge, channel []byte) bool {
	b, err := hex.DecodeString(signature)
	if err != nil || len(b) != ed25519.SignatureSize+challengeSize || len(key) != ed25519.PublicKeySize || len(challenge) != challengeSize {
		return false
	}
	message := b[ed25519.SignatureSize:]
	return subtle.ConstantTimeCompare(message, signed(challenge, channel)) == 1 && ed25519.Verify(key, message, b[:ed25519.SignatureSize])
}
