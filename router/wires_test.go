package router_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/router"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// wire is one peer's connection, on which tests speak JSON whatever is really spoken.
type wire interface {
	send(tb testing.TB, frame string)
	receive(tb testing.TB) (frame []byte, open bool)
}

// dialer opens connections of one kind to a router.
type dialer struct {
	name string
	// raw connections take frames that are no messages; a pipe carries messages only.
	raw  bool
	dial func(tb testing.TB, r *router.Router) wire
}

// dialers are all the ways in, in every encoding.
func dialers() []dialer {
	ds := []dialer{{"pipe", false, dialPipe}}
	for _, way := range []struct {
		name string
		dial func(tb testing.TB, r *router.Router, e wampcore.Encoding) wire
	}{
		{"websocket", webSocketDialer{}.dial},
		{"websocket batched", webSocketDialer{batched: true}.dial},
		{"websocket compressed", webSocketDialer{compressed: true}.dial},
		{"websocket TLS", webSocketDialer{tls: true}.dial},
		{"rawsocket", rawSocketDialer{network: "tcp"}.dial},
		{"rawsocket unix", rawSocketDialer{network: "unix"}.dial},
		{"rawsocket TLS", rawSocketDialer{network: "tcp", tls: true}.dial},
		{"longpoll", longPollDialer{}.dial},
		{"longpoll batched", longPollDialer{batched: true}.dial},
	} {
		for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
			ds = append(ds, dialer{way.name + " " + e.String(), true, func(tb testing.TB, r *router.Router) wire {
				tb.Helper()
				return way.dial(tb, r, e)
			}})
		}
	}
	return ds
}

// encode returns a frame of JSON in another encoding.
func encode(e wampcore.Encoding, frame string) []byte {
	return wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(frame)}.Transcode(e).Args
}

// decode returns a frame of the router's as JSON.
func decode(tb testing.TB, e wampcore.Encoding, b []byte) []byte {
	tb.Helper()
	if err := wampcore.Scan(e, b); err != nil {
		tb.Fatalf("the router sent % x: %v", b, err)
	}
	return wampcore.Payload{Encoding: e, Args: b}.Transcode(wampcore.JSON).Args
}

// packets are messages in batches.
type packets struct {
	e       wampcore.Encoding
	batched bool
	rest    []byte
}

func (p *packets) pack(b []byte) []byte {
	switch {
	case !p.batched:
		return b
	case p.e.Text():
		return append(b, 0x1e)
	default:
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)
	}
}

// next returns the next message of the batch that came last, nil if there is none.
func (p *packets) next(tb testing.TB) []byte {
	tb.Helper()
	var b []byte
	switch {
	case len(p.rest) == 0:
		return nil
	case !p.batched:
		b, p.rest = p.rest, nil
	case p.e.Text():
		end := bytes.IndexByte(p.rest, 0x1e)
		b, p.rest = p.rest[:end], p.rest[end+1:]
	default:
		end := 4 + binary.BigEndian.Uint32(p.rest)
		b, p.rest = p.rest[4:end], p.rest[end:]
	}
	return decode(tb, p.e, b)
}

type pipeWire struct {
	t wampcore.Transport
}

func dialPipe(tb testing.TB, r *router.Router) wire {
	tb.Helper()
	t := r.Dial()
	tb.Cleanup(func() { _ = t.Close(0) })
	return &pipeWire{t: t}
}

func (w *pipeWire) send(tb testing.TB, frame string) {
	tb.Helper()
	m, err := new(wampcore.Decoder).Decode(wampcore.JSON, []byte(frame))
	if err != nil {
		tb.Fatalf("%s: %v", frame, err)
	}
	if _, err := w.t.Write([]wampcore.Message{m}); err != nil && !errors.Is(err, wampcore.ErrClosed) {
		tb.Fatal(err)
	}
}

func (w *pipeWire) receive(tb testing.TB) ([]byte, bool) {
	tb.Helper()
	timer := time.AfterFunc(10*time.Second, func() { _ = w.t.Close(0) })
	defer timer.Stop()
	m, err := w.t.Receive()
	if err != nil {
		return nil, false
	}
	return wampcore.Append(nil, wampcore.JSON, m), true
}

type rawSocketDialer struct {
	network string
	tls     bool
}

func (d rawSocketDialer) dial(tb testing.TB, r *router.Router, e wampcore.Encoding) wire {
	tb.Helper()
	address := "127.0.0.1:0"
	if d.network == "unix" {
		address = filepath.Join(tb.TempDir(), "s")
	}
	l, err := new(net.ListenConfig).Listen(tb.Context(), d.network, address)
	if err != nil {
		tb.Fatal(err)
	}
	address = l.Addr().String()
	server, client := certified(tb)
	if d.tls {
		l = tls.NewListener(l, server)
	}
	served := make(chan error, 1)
	go func() { served <- r.RawSocket(l, transport.Config{}) }()
	nc, err := new(net.Dialer).DialContext(tb.Context(), d.network, address)
	if err != nil {
		tb.Fatal(err)
	}
	if d.tls {
		nc = tls.Client(nc, client)
	}
	tb.Cleanup(func() {
		_, _ = nc.Close(), l.Close()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
	hello := []byte{0x7f, 0xf0 | byte(e), 0, 0}
	answer := make([]byte, 4)
	_, err = nc.Write(hello)
	if _, readErr := io.ReadFull(nc, answer); err != nil || readErr != nil || !bytes.Equal(answer, hello) {
		tb.Fatalf("the handshake % x was answered with % x, %v, %v", hello, answer, err, readErr)
	}
	return &rawSocketWire{nc, e}
}

// certified returns configurations for both ends of TLS.
func certified(tb testing.TB) (server, client *tls.Config) {
	tb.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.StartTLS()
	defer s.Close()
	t, ok := s.Client().Transport.(*http.Transport)
	if !ok {
		tb.Fatal("no transport")
	}
	client = t.TLSClientConfig.Clone()
	client.ServerName = "example.com"
	return &tls.Config{Certificates: s.TLS.Certificates, MinVersion: tls.VersionTLS12}, client
}

type rawSocketWire struct {
	nc net.Conn
	e  wampcore.Encoding
}

func (w *rawSocketWire) send(tb testing.TB, frame string) {
	tb.Helper()
	b := encode(w.e, frame)
	if _, err := w.nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...)); err != nil {
		tb.Logf("send %s: %v", frame, err)
	}
}

func (w *rawSocketWire) receive(tb testing.TB) ([]byte, bool) {
	tb.Helper()
	head := make([]byte, 4)
	if _, err := io.ReadFull(w.nc, head); err != nil {
		return nil, false
	}
	b := make([]byte, binary.BigEndian.Uint32(head))
	if _, err := io.ReadFull(w.nc, b); err != nil {
		return nil, false
	}
	return decode(tb, w.e, b), true
}

type webSocketDialer struct{ batched, compressed, tls bool }

func (d webSocketDialer) dial(tb testing.TB, r *router.Router, e wampcore.Encoding) wire {
	tb.Helper()
	srv := httptest.NewUnstartedServer(r.WebSocket(transport.Config{Compression: d.compressed}))
	if d.tls {
		srv.StartTLS()
	} else {
		srv.Start()
	}
	tb.Cleanup(srv.Close)
	opts := &websocket.DialOptions{Subprotocols: []string{"wamp.2." + e.String()}, HTTPClient: srv.Client()}
	if d.batched {
		opts.Subprotocols[0] += ".batched"
	}
	if d.compressed {
		opts.CompressionMode, opts.CompressionThreshold = websocket.CompressionContextTakeover, 1
	}
	ws, res, err := websocket.Dial(tb.Context(), srv.URL, opts) //nolint:bodyclose // the connection has it
	if err != nil {
		tb.Fatal(err)
	}
	if got := res.Header.Get("Sec-WebSocket-Extensions"); (got != "") != d.compressed {
		tb.Errorf("the extensions %q were agreed on", got)
	}
	ws.SetReadLimit(-1)
	tb.Cleanup(func() { _ = ws.CloseNow() })
	return &webSocketWire{ws, packets{e: e, batched: d.batched}}
}

type webSocketWire struct {
	ws *websocket.Conn
	packets
}

func (w *webSocketWire) send(tb testing.TB, frame string) {
	tb.Helper()
	kind := websocket.MessageBinary
	if w.e.Text() {
		kind = websocket.MessageText
	}
	if err := w.ws.Write(tb.Context(), kind, w.pack(encode(w.e, frame))); err != nil {
		tb.Logf("send %s: %v", frame, err)
	}
}

func (w *webSocketWire) receive(tb testing.TB) ([]byte, bool) {
	tb.Helper()
	if b := w.next(tb); b != nil {
		return b, true
	}
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	kind, b, err := w.ws.Read(ctx)
	if err != nil {
		return nil, false
	}
	if (kind == websocket.MessageText) != w.e.Text() {
		tb.Errorf("%s came in a message of kind %v", w.e, kind)
	}
	w.rest = b
	return w.next(tb), true
}

type longPollDialer struct{ batched bool }

func (d longPollDialer) dial(tb testing.TB, r *router.Router, e wampcore.Encoding) wire {
	tb.Helper()
	srv := httptest.NewServer(r.LongPoll(transport.Config{}, 0, 0))
	tb.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	w := &longPollWire{packets: packets{e: e, batched: d.batched}, url: srv.URL, client: srv.Client()}
	protocol := "wamp.2." + e.String()
	if d.batched {
		protocol += ".batched"
	}
	status, body := w.post(tb, "/open", []byte(`{"protocols":["`+protocol+`"]}`))
	var opened struct{ Transport string }
	if err := json.Unmarshal(body, &opened); err != nil || status != http.StatusOK {
		tb.Fatalf("open: got %d, %q, %v", status, body, err)
	}
	w.url += "/" + opened.Transport
	tb.Cleanup(func() { _, _ = w.post(tb, "/close", nil) })
	return w
}

type longPollWire struct {
	packets

	url    string
	client *http.Client
}

func (w *longPollWire) post(tb testing.TB, path string, body []byte) (int, []byte) {
	tb.Helper()
	req, err := http.NewRequestWithContext(context.WithoutCancel(tb.Context()), http.MethodPost, w.url+path, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	res, err := w.client.Do(req)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil
	}
	return res.StatusCode, answer
}

func (w *longPollWire) send(tb testing.TB, frame string) {
	tb.Helper()
	if status, body := w.post(tb, "/send", w.pack(encode(w.e, frame))); status != http.StatusNoContent {
		tb.Logf("send %s: %d %s", frame, status, body)
	}
}

func (w *longPollWire) receive(tb testing.TB) ([]byte, bool) {
	tb.Helper()
	if b := w.next(tb); b != nil {
		return b, true
	}
	for {
		status, body := w.post(tb, "/receive", nil)
		switch status {
		case http.StatusOK:
			w.rest = body
			return w.next(tb), true
		case http.StatusNoContent:
		default:
			return nil, false
		}
	}
}
