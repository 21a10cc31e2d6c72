package transport

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// RawSocketMagic is the first octet of a RawSocket connection. No HTTP request begins with it.
const RawSocketMagic = 0x7f

// The errors that a router may answer a handshake with.
const (
	rawErrSerializer  = 1
	rawErrLength      = 2
	rawErrReserved    = 3
	rawErrConnections = 4
)

// The frame types.
const (
	rawMessage = iota
	rawPing
	rawPong
)

const (
	rawHeader      = 4
	maxRawMessage  = 1 << 24
	rawExtended    = 0x08 // the length is 2^24
	maxRawExponent = 15
)

var rawErrors = map[byte]string{ //nolint:gochecknoglobals // a constant table
	rawErrSerializer: "the serializer is not supported", rawErrLength: "the message length is not acceptable",
	rawErrReserved: "reserved bits were used", rawErrConnections: "there are too many connections",
}

// exponent returns the largest L with 2^(9+L) within limit, and that length.
func exponent(limit int) (byte, int) {
	l := byte(maxRawExponent)
	for l > 0 && 1<<(9+l) > limit {
		l--
	}
	return l, 1 << (9 + l)
}

// AcceptRaw does the handshake of a RawSocket connection [RFC RawSocket transport], whose first octet may have been read by whoever looked for it:
// then that has to come from nc again. A client that is refused is told why. It closes nc if it fails.
func AcceptRaw(nc net.Conn, cfg Config) (*Conn, error) {
	cfg = cfg.withDefaults()
	t, err := acceptRaw(nc, cfg)
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("rawsocket handshake: %w", err)
	}
	t.start()
	return &Conn{t, t.encoding, stateOf(nc)}, nil
}

func acceptRaw(nc net.Conn, cfg Config) (*rawSocket, error) {
	if err := nc.SetDeadline(time.Now().Add(cfg.HandshakeTimeout)); err != nil {
		return nil, err
	}
	var hello [4]byte
	if _, err := io.ReadFull(nc, hello[:]); err != nil {
		return nil, err
	}
	refuse := func(code byte) error {
		_, err := nc.Write([]byte{RawSocketMagic, code << 4, 0, 0})
		return errors.Join(errors.New(rawErrors[code]), err)
	}
	e := wampcore.Encoding(hello[1] & 0x0f) // the numbers are the same
	switch {
	case hello[0] != RawSocketMagic:
		return nil, errors.New("the first octet is not 0x7F")
	case hello[2] != 0 || hello[3] != 0:
		return nil, refuse(rawErrReserved)
	case e == 0 || !slices.Contains(cfg.Encodings, e):
		return nil, refuse(rawErrSerializer)
	}
	l, length := exponent(cfg.MaxMessage)
	if _, err := nc.Write([]byte{RawSocketMagic, l<<4 | byte(e), 0, 0}); err != nil {
		return nil, err
	}
	return newRawSocket(nc, e, length, 1<<(9+hello[1]>>4), cfg), nc.SetDeadline(time.Time{})
}

// dialRaw connects to a RawSocket router: network is tcp, tls or unix. It offers the first of cfg.Encodings.
func dialRaw(ctx context.Context, network, address string, cfg Config) (*Conn, error) {
	nc, err := dialNet(ctx, network, address, cfg)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	t, err := helloRaw(nc, cfg)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = nc.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	t.start()
	return &Conn{t, t.encoding, stateOf(nc)}, nil
}

func dialNet(ctx context.Context, network, address string, cfg Config) (net.Conn, error) {
	if network == "tls" {
		return (&tls.Dialer{Config: cfg.TLS}).DialContext(ctx, "tcp", address)
	}
	return new(net.Dialer).DialContext(ctx, network, address)
}

func helloRaw(nc net.Conn, cfg Config) (*rawSocket, error) {
	e := cfg.Encodings[0]
	l, length := exponent(cfg.MaxMessage)
	if _, err := nc.Write([]byte{RawSocketMagic, l<<4 | byte(e), 0, 0}); err != nil {
		return nil, err
	}
	var answer [4]byte
	if _, err := io.ReadFull(nc, answer[:]); err != nil {
		return nil, err
	}
	switch {
	case answer[0] != RawSocketMagic || answer[2] != 0 || answer[3] != 0:
		return nil, fmt.Errorf("the answer % x is no RawSocket handshake", answer)
	case answer[1]&0x0f == 0:
		return nil, fmt.Errorf("the router refuses: error %d, %s", answer[1]>>4, rawErrors[answer[1]>>4])
	case answer[1]&0x0f != byte(e):
		return nil, fmt.Errorf("the router chose the serializer %d", answer[1]&0x0f)
	}
	return newRawSocket(nc, e, length, 1<<(9+answer[1]>>4), cfg), nil
}

// rawSocket is either end of a RawSocket connection.
type rawSocket struct {
	link

	maxSend int

	back struct { // answers to messages that the peer does not take for their size
		sync.Mutex

		messages []wampcore.Message
		some     atomic.Bool
	}
}

func newRawSocket(nc net.Conn, e wampcore.Encoding, maxMessage, maxSend int, cfg Config) *rawSocket {
	r := &rawSocket{maxSend: maxSend, link: link{
		conn:       &conn{writeTimeout: cfg.WriteTimeout},
		encoding:   e,
		maxMessage: maxMessage,
		ping:       cfg.PingInterval,
		pingFrame:  "\x01\x00\x00\x04ping", // Autobahn|JS answers one without payload only when more comes
	}}
	if p, ok := nc.(*prefixed); ok { // Split has read some: from here on it comes from our buffer
		nc = p.Conn
		if len(p.prefix) > 0 {
			r.conn.unread(p.prefix)
		}
	}
	r.conn.attach(nc)
	return r
}

// Receive returns the next message.
func (r *rawSocket) Receive() (wampcore.Message, error) {
	for {
		if r.interrupted.Load() {
			return nil, wampcore.ErrInterrupted
		}
		if m := r.refused(); m != nil {
			return m, nil
		}
		kind, n, err := r.header()
		if errors.Is(err, errWoken) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m, err := r.frame(kind, n)
		if m != nil || err != nil && !errors.Is(err, errWoken) {
			return m, err
		}
	}
}

// errWoken means that there is something to return that did not come from the peer.
var errWoken = errors.New("woken")

// header waits for a frame's header, and leaves it where it is.
func (r *rawSocket) header() (kind byte, n int, err error) {
	if r.conn.r == r.conn.w {
		if err := r.fill(); err != nil {
			return 0, 0, r.woken(err)
		}
	}
	for r.conn.w-r.conn.r < rawHeader {
		if err := r.conn.extend(); err != nil {
			return 0, 0, r.woken(r.failure(err))
		}
	}
	head := r.conn.buf[r.conn.r:]
	n = int(binary.BigEndian.Uint32(head) & 0xffffff)
	if head[0]&rawExtended != 0 {
		if n != 0 {
			return 0, 0, errors.New("receive: a frame's length is more than 2^24")
		}
		n = maxRawMessage
	}
	kind = head[0] & 0x07
	switch {
	case head[0]&0xf0 != 0 || kind > rawPong:
		return 0, 0, fmt.Errorf("receive: a frame begins with 0x%02x, which is reserved", head[0])
	case n > r.maxMessage:
		return 0, 0, errTooLarge
	}
	return kind, n, nil
}

// frame takes a frame out of the buffer, or waits for it. It returns no message for what is none.
func (r *rawSocket) frame(kind byte, n int) (wampcore.Message, error) {
	if rawHeader+n > readSize {
		return r.large(kind, n)
	}
	for r.conn.w-r.conn.r < rawHeader+n {
		if err := r.conn.extend(); err != nil {
			return nil, r.woken(r.failure(err))
		}
	}
	b := r.conn.buf[r.conn.r+rawHeader : r.conn.r+rawHeader+n]
	r.conn.r += rawHeader + n
	if kind == rawMessage {
		return r.decode(b)
	}
	return nil, r.control(kind, b)
}

// large reads a frame that does not fit the buffer into memory of its own.
func (r *rawSocket) large(kind byte, n int) (wampcore.Message, error) {
	r.conn.r += rawHeader
	b, err := r.conn.readLarge(n, func(err error) error {
		if err = r.woken(r.failure(err)); errors.Is(err, errWoken) {
			return nil // it has to wait for the frame's end
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	if kind == rawMessage {
		r.needDecoder()
		return r.decoder.DecodeBuffer(r.encoding, b)
	}
	defer b.Release()
	return nil, r.control(kind, b.B)
}

// control answers a PING with its PONG, at once.
func (r *rawSocket) control(kind byte, b []byte) error {
	if kind == rawPong {
		return nil
	}
	if len(b) > r.maxSend {
		return errTooLarge // it cannot be answered
	}
	_, err := r.conn.Write(append(appendRawHeader(make([]byte, 0, rawHeader+len(b)), rawPong, len(b)), b...))
	return err
}

// woken turns the end of a wait that refuse brought about into errWoken.
func (r *rawSocket) woken(err error) error {
	if r.interrupted.Load() || !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	_ = r.conn.SetReadDeadline(time.Time{})
	if r.interrupted.Load() {
		return wampcore.ErrInterrupted
	}
	return errWoken
}

// Ready reports whether a whole message is in the buffer: behind a PING, Receive may have to wait.
func (r *rawSocket) Ready() bool {
	c := r.conn
	return c.w-c.r >= rawHeader && c.buf[c.r] == rawMessage && c.w-c.r >= rawHeader+int(binary.BigEndian.Uint32(c.buf[c.r:]))
}

// Write frames messages and writes what the socket takes at once.
func (r *rawSocket) Write(ms []wampcore.Message) (bool, error) {
	return r.conn.append(func(b []byte) []byte {
		for _, m := range ms {
			b = r.appendFrame(b, m)
			wampcore.Recycle(m)
		}
		return b
	})
}

func (r *rawSocket) appendFrame(b []byte, m wampcore.Message) []byte {
	start := len(b)
	b = wampcore.Append(append(b, 0, 0, 0, 0), r.encoding, m)
	n := len(b) - start - rawHeader
	if n > r.maxSend {
		b = b[:start]
		if instead := r.refuse(m); instead != nil {
			return r.appendFrame(b, instead)
		}
		return b
	}
	appendRawHeader(b[:start], rawMessage, n)
	return b
}

func appendRawHeader(b []byte, kind byte, n int) []byte {
	if n == maxRawMessage {
		return append(b, kind|rawExtended, 0, 0, 0)
	}
	return append(b, kind, byte(n>>16), byte(n>>8), byte(n))
}

// refuse deals with a message that is larger than the peer takes. [RFC RawSocket transport] It may not be sent: a request
// fails, here or at the peer, with wamp.error.payload_size_exceeded; an event, and a progressive result, is dropped.
func (r *rawSocket) refuse(m wampcore.Message) (instead wampcore.Message) {
	failed := func(kind wampcore.MessageType, request wampcore.ID) *wampcore.ErrorMsg {
		return &wampcore.ErrorMsg{RequestType: kind, Request: request, URI: wampcore.ErrPayloadSizeExceeded}
	}
	var back wampcore.Message
	switch m := m.(type) {
	case *wampcore.Invocation:
		back = failed(m.Type(), m.Request)
	case *wampcore.Call:
		back = failed(m.Type(), m.Request)
	case *wampcore.Publish:
		if m.Options.Acknowledge {
			back = failed(m.Type(), m.Request)
		}
	case *wampcore.Result:
		if !m.Details.Progress {
			return failed(wampcore.TypeCall, m.Request)
		}
	case *wampcore.Yield:
		if !m.Options.Progress {
			return failed(wampcore.TypeInvocation, m.Request)
		}
	case *wampcore.ErrorMsg:
		if m.URI != wampcore.ErrPayloadSizeExceeded {
			return failed(m.RequestType, m.Request)
		}
	}
	if back != nil {
		r.back.Lock()
		r.back.messages = append(r.back.messages, back)
		r.back.some.Store(true)
		r.back.Unlock()
		_ = r.conn.SetReadDeadline(time.Unix(1, 0)) // wakes the reader
	}
	return nil
}

// refused returns the next answer to what was not sent.
func (r *rawSocket) refused() wampcore.Message {
	if !r.back.some.Load() {
		return nil
	}
	r.back.Lock()
	defer r.back.Unlock()
	if len(r.back.messages) == 0 {
		return nil
	}
	m := r.back.messages[0]
	r.back.messages = r.back.messages[1:]
	r.back.some.Store(len(r.back.messages) > 0)
	return m
}

// Close ends the connection; with a grace it waits for the peer to have read what was sent.
func (r *rawSocket) Close(grace time.Duration) error {
	r.end()
	if grace <= 0 {
		return r.conn.Close()
	}
	return r.halfClose(grace)
}
