package transport

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"
)

// Accept upgrades an HTTP request. Where that is not possible it answers with an HTTP error itself. Serve the transport
// on another goroutine and return from the handler: that frees the buffers of net/http.
func Accept(w http.ResponseWriter, r *http.Request, cfg Config) (*Conn, error) {
	cfg = cfg.withDefaults()
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this is a WebSocket endpoint: connect with a WAMP client", http.StatusUpgradeRequired)
		return nil, errors.New("not a WebSocket handshake")
	}
	offered := cfg.protocols(false, true)
	p, ok := choose(r, offered)
	if !ok { // coder/websocket would go on without any
		http.Error(w, "none of the offered subprotocols is supported; supported are "+
			strings.Join(names(offered), ", "), http.StatusBadRequest)
		return nil, fmt.Errorf("no subprotocol in common with %q", r.Header.Values("Sec-WebSocket-Protocol"))
	}
	opts := &websocket.AcceptOptions{
		Subprotocols:    []string{p.String()},
		OriginPatterns:  cfg.OriginPatterns,
		CompressionMode: websocket.CompressionDisabled,
	}
	if cfg.Compression {
		return acceptPlain(w, r, p, cfg, opts)
	}
	t := newServer(p, cfg)
	ws, err := websocket.Accept(&hijacker{w, t.conn}, r, opts)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	t.upgraded(ws)
	return &Conn{t, p.encoding, r.TLS}, nil
}

// acceptPlain leaves the framing to coder/websocket, which is slower, but compresses.
func acceptPlain(
	w http.ResponseWriter, r *http.Request, p protocol, cfg Config, opts *websocket.AcceptOptions,
) (*Conn, error) {
	h := &plainHijacker{ResponseWriter: w, held: &heldConn{writeTimeout: cfg.WriteTimeout}}
	opts.CompressionMode = websocket.CompressionContextTakeover
	ws, err := websocket.Accept(h, r, opts)
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	t := newPlain(p, cfg, h.held)
	t.start(ws)
	return &Conn{t, p.encoding, r.TLS}, nil
}

// choose returns the first protocol of the client's that is supported.
func choose(r *http.Request, supported []protocol) (protocol, bool) {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(header, ",") {
			if p, ok := find(supported, strings.TrimSpace(name)); ok {
				return p, true
			}
		}
	}
	return protocol{}, false
}

// hijacker puts our connection under coder/websocket.
type hijacker struct {
	http.ResponseWriter

	conn *conn
}

// Unwrap lets http.ResponseController find the real writer.
func (h *hijacker) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// What coder/websocket gets for buffers: small ones, since whole data frames do not pass through them. A control frame
// fits into the writer's, and so is one Write.
const (
	coderReadBuffer  = 16
	coderWriteBuffer = 136
)

// Hijack takes the connection over, with what the client sent right behind its request.
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn.attach(nc)
	if n := brw.Reader.Buffered(); n > 0 {
		early, _ := brw.Peek(n)
		h.conn.unread(early)
	}
	h.conn.coder = bufio.NewReaderSize(h.conn, coderReadBuffer)
	return h.conn, bufio.NewReadWriter(h.conn.coder, bufio.NewWriterSize(h.conn, coderWriteBuffer)), nil
}

// plainHijacker puts a heldConn under coder/websocket.
type plainHijacker struct {
	http.ResponseWriter

	held *heldConn
}

// Unwrap lets http.ResponseController find the real writer.
func (h *plainHijacker) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack takes the connection over, with what the client sent right behind its request.
func (h *plainHijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, brw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.held.Conn = nc
	return h.held, bufio.NewReadWriter(brw.Reader, bufio.NewWriter(h.held)), nil
}
