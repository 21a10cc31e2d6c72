package auth

import (
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
)

// The types of channel bindings. [RFC 5929, RFC 9266]
const (
	TLSExporter = "tls-exporter"
	TLSUnique   = "tls-unique" // TLS 1.2 alone
)

// ChannelID returns what names a TLS connection at both of its ends, and nowhere else: 32 octets. tls-unique has 12 of them, or 36; the RFC
// of cryptosign wants 32, and Autobahn takes their SHA-256.
func ChannelID(binding string, state *tls.ConnectionState) ([]byte, error) {
	if state == nil {
		return nil, errors.New("auth: there is no TLS connection to bind to")
	}
	switch binding {
	case TLSExporter:
		id, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, challengeSize)
		if err != nil {
			return nil, fmt.Errorf("auth: %w", err)
		}
		return id, nil
	case TLSUnique:
		if len(state.TLSUnique) == 0 {
			return nil, errors.New("auth: the connection has no tls-unique: it is of TLS 1.2, and only where it was not resumed")
		}
		id := sha256.Sum256(state.TLSUnique)
		return id[:], nil
	default:
		return nil, fmt.Errorf("auth: the channel binding %q is not known", binding)
	}
}
