package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
)

// Dial connects to ws:// or wss://.
func Dial(ctx context.Context, url string, cfg Config) (*WebSocket, error) {
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithTimeout(ctx, cfg.HandshakeTimeout)
	defer cancel()
	c := &client{maxMessage: cfg.MaxMessage, writeTimeout: cfg.WriteTimeout, ping: cfg.PingInterval}
	hc := c.through(cfg.HTTPClient)
	ws, res, err := websocket.Dial(ctx, url, &websocket.DialOptions{ //nolint:bodyclose // the connection has it now
		HTTPClient:      hc,
		Subprotocols:    cfg.subprotocols(),
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		hc.CloseIdleConnections() // nobody else has that transport
		return nil, fmt.Errorf("dial %s: %w", url, err)
	}
	e, ok := cfg.encoding(ws.Subprotocol())
	if !ok {
		_ = ws.CloseNow()
		return nil, fmt.Errorf("dial %s: the server chose the subprotocol %q (%s)", url, ws.Subprotocol(), res.Status)
	}
	c.encoding = e
	c.start(ws)
	return &WebSocket{c, e}, nil
}

// client is the dialing end of a WebSocket connection. It has not as many connections as a server, so that it leaves
// the framing to coder/websocket and only sees to it that messages are written together.
type client struct {
	ws           *websocket.Conn
	held         *heldConn
	encoding     wampcore.Encoding
	maxMessage   int
	writeTimeout time.Duration
	ping         time.Duration

	decoder     wampcore.Decoder
	interrupted atomic.Bool

	out    [][]byte // the writer's: messages not written yet
	mu     sync.Mutex
	timer  *time.Timer
	closed bool
}

// through returns an HTTP client like c, whose connection is ours.
func (c *client) through(hc *http.Client) *http.Client {
	base, _ := http.DefaultTransport.(*http.Transport)
	own := http.Client{}
	if hc != nil {
		own = *hc
		if t, ok := hc.Transport.(*http.Transport); ok {
			base = t
		}
	}
	t := base.Clone()
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	dial := t.DialContext
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	t.DialContext = c.hold(dial)
	if t.DialTLSContext != nil {
		t.DialTLSContext = c.hold(t.DialTLSContext)
	}
	own.Transport = t
	own.Timeout = 0
	return &own
}

type dialFunc = func(ctx context.Context, network, address string) (net.Conn, error)

func (c *client) hold(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		nc, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c.held = &heldConn{Conn: nc, writeTimeout: c.writeTimeout}
		return c.held, nil
	}
}

func (c *client) start(ws *websocket.Conn) {
	c.ws = ws
	ws.SetReadLimit(int64(c.maxMessage))
	if c.ping > 0 {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.timer = time.AfterFunc(c.ping, c.keepalive)
	}
}

// keepalive pings the server. It runs on the timer's goroutine, and ends with the connection at the latest.
func (c *client) keepalive() {
	ctx, cancel := context.WithTimeout(context.Background(), c.ping)
	defer cancel()
	if err := c.ws.Ping(ctx); err != nil {
		_ = c.held.Close()
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.timer.Reset(c.ping)
	}
}

// Receive returns the next message.
func (c *client) Receive() (wampcore.Message, error) {
	if c.interrupted.Load() {
		return nil, wampcore.ErrInterrupted
	}
	kind, b, err := c.ws.Read(context.Background())
	switch {
	case err != nil && c.interrupted.Load():
		return nil, wampcore.ErrInterrupted
	case err != nil:
		return nil, fmt.Errorf("receive: %w", err)
	}
	if err := checkKind(c.encoding, kind); err != nil {
		return nil, err
	}
	return c.decoder.Decode(c.encoding, b)
}

// Ready is not known here.
func (c *client) Ready() bool { return false }

// Write encodes messages; Flush writes them.
func (c *client) Write(ms []wampcore.Message) (bool, error) {
	for _, m := range ms {
		c.out = append(c.out, wampcore.Append(nil, c.encoding, m))
		wampcore.Recycle(m)
	}
	return len(c.out) == 0, nil
}

// Flush writes all messages together.
func (c *client) Flush() error {
	c.held.hold()
	var err error
	for _, b := range c.out {
		if err = c.ws.Write(context.Background(), messageKind(c.encoding), b); err != nil {
			break
		}
	}
	c.out = nil
	return errors.Join(err, c.held.release())
}

// Interrupt wakes the reader.
func (c *client) Interrupt() {
	c.interrupted.Store(true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		_ = c.held.SetReadDeadline(time.Unix(1, 0))
	}
}

// Close says goodbye as WebSocket has it, if there is time for that, and closes the connection.
func (c *client) Close(grace time.Duration) error {
	c.mu.Lock()
	c.closed = true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()
	if grace <= 0 {
		err := c.held.Close()
		_ = c.ws.CloseNow() // ends a Ping
		return err
	}
	cut := time.AfterFunc(grace, func() { _ = c.held.Close() })
	defer cut.Stop()
	_ = c.held.SetReadDeadline(time.Time{})
	err := c.ws.Close(websocket.StatusNormalClosure, "")
	_ = c.held.Close()
	return err
}

// heldConn collects what is written to it while it is held.
type heldConn struct {
	net.Conn

	writeTimeout time.Duration // of each write: an old deadline would fail later pings

	mu      sync.Mutex
	holding bool
	buf     []byte
}

func (h *heldConn) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.holding {
		h.buf = append(h.buf, p...)
		return len(p), nil
	}
	return h.write(p)
}

func (h *heldConn) write(p []byte) (int, error) {
	_ = h.SetWriteDeadline(time.Now().Add(h.writeTimeout))
	return h.Conn.Write(p)
}

func (h *heldConn) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = true
}

func (h *heldConn) release() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.holding = false
	if len(h.buf) == 0 {
		return nil
	}
	_, err := h.write(h.buf)
	h.buf = nil
	return err
}
