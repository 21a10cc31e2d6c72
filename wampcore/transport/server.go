package transport

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"time"

	"github.com/coder/websocket"

	"github.com/wampgate/wampgate/wampcore"
)

// server is the accepting end of a WebSocket connection.
type server struct {
	link

	ws    *websocket.Conn
	batch *batch // nil: each frame is a message
	torn  bool   // the reader's: it was interrupted within a frame, whose rest is still to come
}

func newServer(p protocol, cfg Config) *server {
	return &server{batch: newBatch(p), link: link{
		conn:       &conn{writeTimeout: cfg.WriteTimeout},
		encoding:   p.encoding,
		maxMessage: cfg.MaxMessage,
		ping:       cfg.PingInterval,
		pingFrame:  "\x89\x00",
	}}
}

func (s *server) upgraded(ws *websocket.Conn) {
	s.ws = ws
	ws.SetReadLimit(int64(s.maxMessage))
	s.start()
}

// Receive returns the next message.
func (s *server) Receive() (wampcore.Message, error) {
	for {
		if s.interrupted.Load() {
			return nil, wampcore.ErrInterrupted
		}
		if s.batch.pending() {
			return s.nextInBatch()
		}
		s.conn.takeBack()
		if s.conn.r == s.conn.w {
			if err := s.fill(); err != nil {
				return nil, err
			}
		}
		op, head, n := s.frame()
		switch {
		case n < 0:
			return s.receiveSlow()
		case n > s.maxMessage:
			cut := time.AfterFunc(s.conn.writeTimeout, func() { _ = s.conn.Close() }) // coder/websocket reads on for as long as bytes come
			_ = s.ws.Close(websocket.StatusMessageTooBig, "the message is larger than this router takes")
			cut.Stop()
			return nil, s.failure(errTooLarge)
		case s.conn.w-s.conn.r >= head+n:
			b := s.conn.buf[s.conn.r+head : s.conn.r+head+n]
			unmask(b, binary.LittleEndian.Uint32(s.conn.buf[s.conn.r+head-4:]))
			s.conn.r += head + n
			return s.checked(op, b)
		case n > readSize/2:
			return s.receiveLarge(op, head, n)
		default:
			return s.receiveSlow()
		}
	}
}

var errTooLarge = errors.New("the message is too large")

// frame reads the header of the frame at the beginning of the buffer: its type, the header's length and the payload's.
// That is -1 unless it is a whole header of an unfragmented, masked data frame.
func (s *server) frame() (op byte, head, n int) {
	b := s.conn.buf[s.conn.r:s.conn.w]
	if len(b) < 6 || b[0] != 0x81 && b[0] != 0x82 || b[1] < 0x80 {
		return 0, 0, -1
	}
	op = b[0] & 0x0f
	switch n = int(b[1] & 0x7f); {
	case n < 126:
		return op, 6, n
	case n == 126 && len(b) >= 8:
		return op, 8, int(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 14:
		return op, 14, int(min(binary.BigEndian.Uint64(b[2:]), math.MaxInt32)) // more than any limit
	}
	return 0, 0, -1
}

// receiveLarge reads a frame that does not fit the buffer into memory of its own.
func (s *server) receiveLarge(op byte, head, n int) (wampcore.Message, error) {
	key := binary.LittleEndian.Uint32(s.conn.buf[s.conn.r+head-4:])
	s.conn.r += head
	b, err := s.conn.readLarge(n, s.tear)
	if err != nil {
		return nil, err
	}
	unmask(b.B, key)
	if s.batch != nil {
		return s.checked(op, b.B) // shared by its messages
	}
	if err := s.checkKind(op); err != nil {
		b.Release()
		return nil, err
	}
	s.needDecoder()
	return s.decoder.DecodeBuffer(s.encoding, b)
}

// receiveSlow leaves to coder/websocket what is not a plain data frame: control frames, fragments, errors, frames that
// have come in part. It also answers pings and closes.
func (s *server) receiveSlow() (wampcore.Message, error) {
	kind, r, err := s.ws.Reader(context.Background())
	if err != nil {
		return nil, s.tear(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, s.tear(err)
	}
	return s.checked(byte(kind), b)
}

// tear is failure within a frame.
func (s *server) tear(err error) error {
	s.torn = s.interrupted.Load()
	return s.failure(err)
}

func (s *server) checked(op byte, b []byte) (wampcore.Message, error) {
	if err := s.checkKind(op); err != nil {
		return nil, err
	}
	if s.batch != nil {
		s.batch.rest = b
		return s.nextInBatch()
	}
	return s.decode(b)
}

func (s *server) nextInBatch() (wampcore.Message, error) {
	b, err := s.batch.next()
	if err != nil {
		return nil, err
	}
	return s.decode(b)
}

// checkKind checks that text comes as text and binary as binary.
func (s *server) checkKind(op byte) error { return checkKind(s.encoding, websocket.MessageType(op)) }

func checkKind(e wampcore.Encoding, kind websocket.MessageType) error {
	if kind != messageKind(e) {
		return wampcore.Violation("a %s message came as %v", e, kind)
	}
	return nil
}

func messageKind(e wampcore.Encoding) websocket.MessageType {
	if e.Text() {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

// Ready reports whether a whole data frame is in the buffer.
func (s *server) Ready() bool {
	if s.batch.pending() {
		return true
	}
	s.conn.takeBack()
	if s.conn.r == s.conn.w {
		return false
	}
	_, head, n := s.frame()
	return n >= 0 && s.conn.w-s.conn.r >= head+n
}

// Write frames messages and writes what the socket takes at once.
func (s *server) Write(ms []wampcore.Message) (bool, error) {
	return s.conn.append(func(b []byte) []byte {
		for len(ms) > 0 {
			b, ms = s.appendFrame(b, ms)
		}
		return b
	})
}

// appendFrame appends the first of ms, or a batch of them, as one frame, unmasked as servers send them. It returns the rest.
func (s *server) appendFrame(b []byte, ms []wampcore.Message) (_ []byte, rest []wampcore.Message) {
	op := byte(messageKind(s.encoding))
	if event, ok := ms[0].(*wampcore.Event); ok && s.batch == nil {
		body := event.Encoded(s.encoding)
		return append(appendHeader(b, op, len(body)), body...), ms[1:]
	}
	const room = 4 // right for most; it is adjusted when the length is known
	start := len(b)
	b = append(b, make([]byte, room)...)
	if s.batch != nil {
		b, rest = s.batch.fill(b, ms)
	} else {
		b, rest = wampcore.Append(b, s.encoding, ms[0]), ms[1:]
		wampcore.Recycle(ms[0])
	}
	n := len(b) - start - room
	var header [10]byte
	h := appendHeader(header[:0], op, n)
	if len(h) > room {
		b = append(b, make([]byte, len(h)-room)...)
	}
	if len(h) != room {
		copy(b[start+len(h):], b[start+room:start+room+n])
	}
	copy(b[start:], h)
	return b[:start+len(h)+n], rest
}

func appendHeader(b []byte, op byte, n int) []byte {
	b = append(b, 0x80|op)
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	default:
		return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
	}
}

// unmask undoes the masking of a client's frame, in place.
func unmask(b []byte, key uint32) {
	wide := uint64(key)<<32 | uint64(key)
	for len(b) >= 32 {
		p := b[:32]
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^wide)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^wide)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^wide)
		b = b[32:]
	}
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^wide)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= byte(key)
		key = key>>8 | key<<24
	}
}

// Close says goodbye as WebSocket has it, if there is time for that, and closes the connection.
func (s *server) Close(grace time.Duration) error {
	s.end()
	if grace <= 0 {
		return s.conn.Close()
	}
	cut := time.AfterFunc(grace, func() { _ = s.conn.Close() })
	defer cut.Stop()
	if s.torn { // coder/websocket would take the rest of the frame for the next one's header
		_, _ = s.conn.Write([]byte{0x88, 2, 1000 >> 8, 1000 & 0xff})
		_ = s.conn.Flush()
		return s.halfClose(grace)
	}
	_ = s.conn.SetReadDeadline(time.Time{})
	err := s.ws.Close(websocket.StatusNormalClosure, "")
	_ = s.conn.Close()
	s.conn.control.Wait()
	s.rest()
	return err
}
