package httpapi

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// framing is how the frames of a stream look. What it says of an event is the same for all streams that have it.
type framing struct {
	format  format
	named   bool // the events of server-sent events have their topics for names
	chunked bool // each frame is a chunk of HTTP/1.1
}

// kind is what frames of an event are known by.
func (f framing) kind() uint8 {
	k := uint8(f.format) << 2
	if f.named {
		k |= 1
	}
	if f.chunked {
		k |= 2
	}
	return k
}

func framingOf(kind uint8) framing {
	return framing{format: format(kind >> 2), named: kind&1 != 0, chunked: kind&2 != 0}
}

// Event returns an event's frame: the one that was made before, if there is one.
func (f framing) Event(topic wampcore.URI, e *wampcore.Event) []byte {
	return e.Derived(f.kind(), topic, newEventFrame)
}

func newEventFrame(kind uint8, topic wampcore.URI, e *wampcore.Event) []byte {
	return framingOf(kind).Past(topic, e, !topic.Reserved()) // the router's own are not kept, so a cursor cannot be behind one
}

// Past returns the frame of an event for one reader.
func (f framing) Past(topic wampcore.URI, e *wampcore.Event, cursor bool) []byte {
	var space [32]byte
	id, name := "", ""
	if cursor {
		id = string(bridge.AppendCursor(space[:0], e.Publication))
	}
	if f.named && f.format == eventStream {
		name = string(topic)
	}
	data := bridge.AppendEvent(make([]byte, 0, e.Payload.Size()+len(topic)+96), topic, e)
	return f.frame(len(data), func(b []byte) []byte { return f.format.appendFrame(b, id, name, data) })
}

// Notice returns the frame of a stream's own words. The first has the time after which a reader may come back.
func (f framing) Notice(name, cursor string, data []byte) []byte {
	return f.frame(len(data), func(b []byte) []byte {
		if name == "wamp.ready" && f.format == eventStream {
			b = append(b, "retry: 3000\n"...)
		}
		return f.format.appendFrame(b, cursor, name, data)
	})
}

// Beat returns the frame of a heartbeat.
func (f framing) Beat(cursor string) []byte {
	return f.frame(0, func(b []byte) []byte { return f.format.appendBeat(b, cursor) })
}

// maxChunkHead is how long the head of a chunk is at the most: eight digits and a line's end.
const maxChunkHead = 10

// frame makes a frame, in a chunk if that is to be.
func (f framing) frame(size int, body func([]byte) []byte) []byte {
	if !f.chunked {
		return body(make([]byte, 0, size+64))
	}
	var head [maxChunkHead]byte
	b := body(append(make([]byte, 0, size+96), head[:]...))
	digits := strconv.AppendUint(head[:0], uint64(len(b)-maxChunkHead), 16)
	start := maxChunkHead - len(digits) - 2
	copy(b[start:], digits)
	copy(b[maxChunkHead-2:], "\r\n")
	return append(b, "\r\n"...)[start:]
}

// lastChunk ends the body of an answer in chunks.
const lastChunk = "0\r\n\r\n"

// When readers of a stream that the gateway ends come back.
const (
	minRetry   = 1000
	retryRange = 4000
)

// lastFrames are the frames of one request's stream. They know how to say why it is over.
type lastFrames struct {
	framing

	requestID string
}

// Last returns the last words.
func (f lastFrames) Last(err error) []byte {
	var b []byte
	switch e, _ := errors.AsType[*wampcore.Error](err); {
	case errors.Is(err, bridge.ErrDraining), e != nil && e.URI == wampcore.CloseSystemShutdown:
		b = f.drained()
	case errors.Is(err, bridge.ErrExpired):
		why, ok := errors.AsType[farewell](err)
		if !ok {
			why = errExpired
		}
		b = f.bye(0, why)
	default:
		b = f.failure(err, e)
	}
	if f.chunked {
		b = append(b, lastChunk...)
	}
	return b
}

// drained sends readers away, each to come back at a time of its own.
func (f framing) drained() []byte { return f.bye(minRetry+rand.IntN(retryRange), bridge.ErrDraining) }

func (f framing) bye(retry int, reason error) []byte {
	return f.frame(0, func(b []byte) []byte {
		data := strconv.AppendQuote([]byte(`{"reason":`), reason.Error())
		if retry > 0 && f.format == eventStream {
			b = append(strconv.AppendInt(append(b, "retry: "...), int64(retry), 10), '\n')
		} else if retry > 0 {
			data = strconv.AppendInt(append(data, `,"retry":`...), int64(retry), 10)
		}
		return f.format.appendFrame(b, "", "wamp.bye", append(data, '}'))
	})
}

// failure says what went wrong. Whoever was ended by an operator is not to come back by itself.
func (f lastFrames) failure(err error, e *wampcore.Error) []byte {
	p, id := asProblem(err), ""
	switch {
	case errors.Is(err, bridge.ErrSlow):
		p = newProblem(http.StatusServiceUnavailable, err.Error())
		p.Retriable = true
	case e == nil && errors.Is(err, wampcore.ErrClosed):
		p = asProblem(client.ErrDown)
	case killed(err):
		id = finPrefix + "killed"
	}
	return f.frame(256, func(b []byte) []byte { return f.format.appendFrame(b, id, "wamp.error", p.encode(f.requestID)) })
}

// isOver reports whether a cursor is that of something that is over.
func isOver(cursor string) bool { return strings.HasPrefix(cursor, finPrefix) }
