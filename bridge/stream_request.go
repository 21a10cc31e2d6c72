package bridge

import (
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// Topic is what a stream subscribes to.
type Topic struct {
	URI   wampcore.URI
	Match wampcore.Match
}

// StreamRequest is what a reader asks for. Topics, Frames and Ready are required.
type StreamRequest struct {
	Topics    []Topic
	Cursor    string // what the reader has seen last; empty: it wants what comes from now on
	FailOnGap bool   // rather no stream than one that has a gap at its beginning: GapError
	Retained  bool   // first what the router retains of the topics
	Slow      Slow
	Timeout   time.Duration // for it to begin; default 10 s
	Heartbeat time.Duration // about the time between two; default 15 s
	Frames    Frames
	// Ready is called when the router has agreed to everything, and returns where the stream goes.
	Ready func(*Stream) (Sink, error)
}

// Frames are how a reader gets things.
type Frames interface {
	// Event returns an event. All streams of the same frames share what is returned.
	Event(topic wampcore.URI, e *wampcore.Event) []byte
	// Past returns an event of the past, or one that does not move the reader's cursor.
	Past(topic wampcore.URI, e *wampcore.Event, cursor bool) []byte
	// Notice returns one of the stream's own words, with a JSON object. The cursor may be empty.
	Notice(name, cursor string, data []byte) []byte
	// Beat returns what says that the stream is alive. The cursor may be empty.
	Beat(cursor string) []byte
	// Last returns why the stream is over.
	Last(err error) []byte
}

// Sink is where a stream goes: a reader's connection. It calls Stream.End with ErrHungUp when the reader is gone. Send and Cut do not wait.
type Sink interface {
	// Send takes frames. It returns false when it has enough for now, and calls Stream.Drained when it wants more.
	Send(frames [][]byte) (more bool, err error)
	// Finish sends the last frame, and waits until all has gone, or does not go.
	Finish(last []byte)
	Cut()
}
