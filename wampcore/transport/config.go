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
	OriginPatterns   []string            // accepting WebSocket: hosts of browsers' origins beside the own, as path.Match patterns
	Compression      bool                // WebSocket: permessage-deflate, where the peer has it, too
	Batched          bool                // dialing WebSocket: offers to send messages in batches; accepting takes them always
	TLS              *tls.Config         // dialing: CAs and client certificates; optional
	HTTPClient       *http.Client        // dialing WebSocket: proxies, cookies; optional. TLS is the one above
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

// protocols are what is accepted or offered, best first. Batches are always accepted.
func (c Config) protocols(batched ...bool) []protocol {
	ps := make([]protocol, 0, len(batched)*len(c.Encodings))
	for _, b := range batched {
		for _, e := range c.Encodings {
			ps = append(ps, protocol{e, b})
		}
	}
	return ps
}

// names returns the protocols as WebSocket knows them.
func names(ps []protocol) []string {
	all := make([]string, len(ps))
	for i, p := range ps {
		all[i] = p.String()
	}
	return all
}

// find returns the protocol with this name.
func find(ps []protocol, name string) (protocol, bool) {
	i := slices.IndexFunc(ps, func(p protocol) bool { return p.String() == name })
	if i < 0 {
		return protocol{}, false
	}
	return ps[i], true
}
