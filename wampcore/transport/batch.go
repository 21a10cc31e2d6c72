package transport

import (
	"bytes"
	"encoding/binary"
	"sync/atomic"

	"github.com/wampgate/wampgate/wampcore"
)

// protocol is what two peers agree on: an encoding, and whether messages come in batches. [RFC message batching]
type protocol struct {
	encoding wampcore.Encoding
	batched  bool
}

const (
	subprotocolPrefix = "wamp.2."
	batchedSuffix     = ".batched"
)

// String returns the protocol's name as a WebSocket subprotocol.
func (p protocol) String() string {
	name := subprotocolPrefix + p.encoding.String()
	if p.batched {
		name += batchedSuffix
	}
	return name
}

// What ends a message in a batch of JSON: the RFC's octet, and the one that Autobahn sends and expects instead.
const (
	recordSeparator   = 0x1e
	autobahnSeparator = 0x18

	separators = "\x1e\x18"
)

// batch puts messages together into one frame, and takes such frames apart. JSON messages are each ended by an octet that
// JSON does not have; others begin with their length in four octets.
type batch struct {
	encoding wampcore.Encoding
	autobahn atomic.Bool // the peer separates as Autobahn does

	rest []byte // the reader's: of the frame that came last
}

// newBatch returns nil for a protocol without batches.
func newBatch(p protocol) *batch {
	if !p.batched {
		return nil
	}
	return &batch{encoding: p.encoding}
}

// pending reports whether there is more of the last frame.
func (s *batch) pending() bool { return s != nil && len(s.rest) > 0 }

// next takes the first message out of rest.
func (s *batch) next() ([]byte, error) {
	message, rest, err := s.cut(s.rest)
	s.rest = rest
	return message, err
}

func (s *batch) cut(b []byte) (message, rest []byte, err error) {
	if s.encoding.Text() {
		end := bytes.IndexAny(b, separators) // either, so that no message looks through the whole frame for the other
		if end < 0 {
			return nil, nil, wampcore.Violation("a batch of messages has to have one at least, and 0x1E at the end of each")
		}
		s.autobahn.Store(b[end] == autobahnSeparator)
		return b[:end], b[end+1:], nil
	}
	if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
		return nil, nil, wampcore.Violation("a batch of messages has to have one at least, and their lengths have to be true")
	}
	end := 4 + int(binary.BigEndian.Uint32(b))
	return b[4:end], b[end:], nil
}

// append appends m as one more message of a frame.
func (s *batch) append(b []byte, m wampcore.Message) []byte {
	if s.encoding.Text() {
		if b = wampcore.Append(b, s.encoding, m); s.autobahn.Load() {
			return append(b, autobahnSeparator)
		}
		return append(b, recordSeparator)
	}
	start := len(b)
	b = wampcore.Append(append(b, 0, 0, 0, 0), s.encoding, m)
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

// maxBatch is the size from which on a frame takes no more messages: a peer has to have a frame whole before it sees any.
const maxBatch = 64 << 10

// fill appends messages until there are no more, or the frame is large, and returns those that are left.
func (s *batch) fill(b []byte, ms []wampcore.Message) ([]byte, []wampcore.Message) {
	for start := len(b); len(ms) > 0 && len(b)-start < maxBatch; ms = ms[1:] {
		b = s.append(b, ms[0])
		wampcore.Recycle(ms[0])
	}
	return b, ms
}
