package transport

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
)

// WebSocket is a WebSocket connection as a wampcore.Transport.
type WebSocket struct {
	wampcore.Transport

	encoding wampcore.Encoding
}

// Encoding returns the encoding that was agreed on.
func (w *WebSocket) Encoding() wampcore.Encoding { return w.encoding }

// Accept upgrades an HTTP request. Where that is not possible it answers with an HTTP error itself. Serve the transport
// on another goroutine and return from the handler: that frees the buffers of net/http.
func Accept(w http.ResponseWriter, r *http.Request, cfg Config) (*WebSocket, error) {
	cfg = cfg.withDefaults()
	if !strings.EqualFold(r.Header.Get("Upgrade"), "websocket") {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "websocket")
		http.Error(w, "this is a WebSocket endpoint: connect with a WAMP client", http.StatusUpgradeRequired)
		return nil, errors.New("not a WebSocket handshake")
	}
	subprotocol, ok := choose(r, cfg)
	if !ok { // coder/websocket would go on without any
		http.Error(w, "none of the offered subprotocols is supported; supported are "+
			strings.Join(cfg.subprotocols(), ", "), http.StatusBadRequest)
		return nil, fmt.Errorf("no subprotocol in common with %q", r.Header.Values("Sec-WebSocket-Protocol"))
	}
	e, _ := cfg.encoding(subprotocol)
	t := newServer(e, cfg)
	ws, err := websocket.Accept(&hijacker{w, t.conn}, r, &websocket.AcceptOptions{
		Subprotocols:    []string{subprotocol},
		OriginPatterns:  cfg.OriginPatterns,
		CompressionMode: websocket.CompressionDisabled,
	})
	if err != nil {
		return nil, fmt.Errorf("accept: %w", err)
	}
	t.upgraded(ws)
	return &WebSocket{t, e}, nil
}

// choose returns the first subprotocol of the client's that is supported.
func choose(r *http.Request, cfg Config) (string, bool) {
	for _, header := range r.Header.Values("Sec-WebSocket-Protocol") {
		for name := range strings.SplitSeq(header, ",") {
			name = strings.TrimSpace(name)
			if _, ok := cfg.encoding(name); ok {
				return name, true
			}
		}
	}
	return "", false
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
