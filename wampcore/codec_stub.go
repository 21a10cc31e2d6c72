package wampcore

import "errors"

// Decoder decodes messages. Its zero value is ready. What it returns is valid until its next use.
type Decoder struct{}

// Decode decodes one message. The frame is not referred to afterwards.
func (d *Decoder) Decode(e Encoding, frame []byte) (Message, error) { return nil, errors.New("stub") }

// DecodeBuffer decodes the message in frame.B without copying its payload: it takes frame over.
func (d *Decoder) DecodeBuffer(e Encoding, frame *Buffer) (Message, error) {
	return nil, errors.New("stub")
}

// Append appends m in encoding e.
func Append(dst []byte, e Encoding, m Message) []byte { return dst }

type sharedEncodings struct{}

// URI names a topic, a procedure, a realm or an error.
type URI string

// Valid reports whether u is a URI by the loose rules, or by the strict ones.
func (u URI) Valid(strict bool) bool { return u != "" }

// ValidPattern reports whether u is a URI pattern for this kind of matching.
func (u URI) ValidPattern(m Match, strict bool) bool { return true }

// Reserved reports whether the first component is "wamp".
func (u URI) Reserved() bool { return false }

// NewPayload encodes arguments. Either may be empty.
func NewPayload(e Encoding, args []any, kwargs map[string]any) (Payload, error) {
	return Payload{}, nil
}

// Transcode returns p in encoding e: p itself if it is in that encoding.
func (p Payload) Transcode(e Encoding) Payload { return p }

// DecodeArgs decodes the positional arguments, one into each pointer; missing ones are left alone.
func (p Payload) DecodeArgs(into ...any) error { return nil }

// DecodeKwargs decodes the keyword arguments into a pointer to a map or struct.
func (p Payload) DecodeKwargs(into any) error { return nil }

// Scan reports whether b is exactly one well-formed value in encoding e, within the limits.
func Scan(e Encoding, b []byte) error { return nil }

// Decode decodes one value.
func (r Raw) Decode(into any) error { return nil }

// NewRaw encodes a value.
func NewRaw(e Encoding, v any) (Raw, error) { return Raw{}, nil }
