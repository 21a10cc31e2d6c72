package transport

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
)

// Conn is a connection as a wampcore.Transport.
type Conn struct {
	wampcore.Transport

	encoding wampcore.Encoding
	tls      *tls.ConnectionState
}

// Encoding returns the encoding that was agreed on.
func (c *Conn) Encoding() wampcore.Encoding { return c.encoding }

// TLS returns what there is to know of the connection's TLS, nil if there is none, or if it is not one connection.
func (c *Conn) TLS() *tls.ConnectionState { return c.tls }

// Dial connects to a router. The address says how:
//
//	ws://host:port/path, wss://host:port/path   WebSocket; http and https are the same
//	ws+unix:///run/router.sock:/path            WebSocket over a unix socket
//	tcp://host:port, tls://host:port            RawSocket, with the first of cfg.Encodings
//	unix:///run/router.sock                     RawSocket over a unix socket
func Dial(ctx context.Context, address string, cfg Config) (*Conn, error) {
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, cfg.HandshakeTimeout)
	defer cancel()
	scheme, rest, _ := strings.Cut(address, ":")
	var c *Conn
	var err error
	switch scheme {
	case "ws", "wss", "http", "https":
		c, err = dialWebSocket(ctx, address, "", cfg)
	case "ws+unix":
		socket, path, _ := strings.Cut(strings.TrimPrefix(rest, "//"), ":")
		c, err = dialWebSocket(ctx, "ws://localhost/"+strings.TrimPrefix(path, "/"), socket, cfg)
	case "tcp", "tls":
		c, err = dialRaw(ctx, scheme, strings.TrimSuffix(strings.TrimPrefix(rest, "//"), "/"), cfg)
	case "unix":
		c, err = dialRaw(ctx, scheme, strings.TrimPrefix(rest, "//"), cfg)
	default:
		err = fmt.Errorf("the scheme %q is not known; want ws, wss, ws+unix, tcp, tls or unix", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", redacted(address), err)
	}
	return c, nil
}

// redacted is an address as it may stand in a log.
func redacted(address string) string {
	if u, err := url.Parse(address); err == nil {
		return u.Redacted()
	}
	return "the address"
}

// dialWebSocket connects to ws:// or wss://, or through the unix socket if one is named.
func dialWebSocket(ctx context.Context, address, socket string, cfg Config) (*Conn, error) {
	offered := cfg.protocols(false)
	if cfg.Batched {
		offered = cfg.protocols(true, false)
	}
	opts := &websocket.DialOptions{Subprotocols: names(offered), CompressionMode: websocket.CompressionDisabled}
	if cfg.Compression {
		opts.CompressionMode = websocket.CompressionContextTakeover
	}
	d := &dialer{cfg: cfg, socket: socket}
	opts.HTTPClient = d.client()
	ws, res, err := websocket.Dial(ctx, address, opts) //nolint:bodyclose // the connection has it now
	if err != nil {
		opts.HTTPClient.CloseIdleConnections() // nobody else has that transport
		return nil, err
	}
	p, ok := find(offered, ws.Subprotocol())
	if !ok {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("the server chose the subprotocol %q (%s)", ws.Subprotocol(), res.Status)
	}
	t := newPlain(p, cfg, d.held)
	t.start(ws)
	return &Conn{t, p.encoding, res.TLS}, nil
}

// dialer has an HTTP client whose connection is ours.
type dialer struct {
	cfg    Config
	socket string // the unix socket to connect to; empty: the address says where
	held   *heldConn
}

func (d *dialer) client() *http.Client {
	base, _ := http.DefaultTransport.(*http.Transport)
	own := http.Client{}
	if hc := d.cfg.HTTPClient; hc != nil {
		own = *hc
		if t, ok := hc.Transport.(*http.Transport); ok {
			base = t
		}
	}
	t := base.Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	if d.cfg.TLS != nil {
		t.TLSClientConfig = d.cfg.TLS.Clone()
	}
	dial := t.DialContext
	switch {
	case d.socket != "":
		t.Proxy = nil
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", d.socket)
		}
	case dial == nil:
		dial = new(net.Dialer).DialContext
	}
	t.DialContext = d.hold(dial)
	if t.DialTLSContext != nil {
		t.DialTLSContext = d.hold(t.DialTLSContext)
	}
	own.Transport = t
	own.Timeout = 0
	return &own
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func (d *dialer) hold(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		d.held = &heldConn{Conn: nc, writeTimeout: d.cfg.WriteTimeout}
		return d.held, nil
	}
}
