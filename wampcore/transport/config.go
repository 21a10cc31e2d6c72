package transport

import (
	"crypto/tls"
	"net/http"
	"slices"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// Config bounds a connection. Its zero value has good defaults.
type Config struct {
	MaxMessage       int                 // bytes of one received message; default 16 MiB, at most 1 GiB
	HandshakeTimeout time.Duration       // dialing; default 10 s
	WriteTimeout     time.Duration       // of one Flush; default 10 s
	PingInterval     time.Duration       // silence after which the peer is pinged, and then cut; default 30 s, negative: never
	Encodings        []wampcore.Encoding // accepted or offered, best first; default all
	OriginPatterns   []string            // accepting: hosts of browsers' origins beside the own, as path.Match patterns
	HTTPClient       *http.Client        // dialing WebSocket: TLS and proxies; optional
	TLS              *tls.Config         // dialing RawSocket over TLS; optional
}

func (c Config) withDefaults() Config {
	if c.MaxMessage <= 0 {
		c.MaxMessage = 16 << 20
	}
	c.MaxMessage = min(c.MaxMessage, 1<<30)
	if c.HandshakeTimeout <= 0 {
		c.HandshakeTimeout = 10 * time.Second
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 10 * time.Second
	}
	if c.PingInterval == 0 {
		c.PingInterval = 30 * time.Second
	}
	if len(c.Encodings) == 0 {
		c.Encodings = []wampcore.Encoding{wampcore.JSON, wampcore.MessagePack, wampcore.CBOR}
	}
	return c
}

const subprotocolPrefix = "wamp.2."

// subprotocols returns the names of the encodings as WebSocket knows them.
func (c Config) subprotocols() []string {
	names := make([]string, len(c.Encodings))
	for i, e := range c.Encodings {
		names[i] = subprotocolPrefix + e.String()
	}
	return names
}

// encoding returns the encoding of a subprotocol.
func (c Config) encoding(subprotocol string) (wampcore.Encoding, bool) {
	i := slices.Index(c.subprotocols(), subprotocol)
	if i < 0 {
		return 0, false
	}
	return c.Encodings[i], true
}
