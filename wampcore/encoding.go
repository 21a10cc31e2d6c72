package wampcore

// Encoding is a serialization of messages. The values are those of RawSocket's handshake.
type Encoding uint8

// The encodings. The zero value means none.
const (
	JSON        Encoding = 1
	MessagePack Encoding = 2
	CBOR        Encoding = 3

	numEncodings = 3
)

// String returns the name that subprotocols use: json, msgpack or cbor.
func (e Encoding) String() string {
	switch e {
	case JSON:
		return "json"
	case MessagePack:
		return "msgpack"
	case CBOR:
		return "cbor"
	default:
		return "none"
	}
}

// Text reports whether messages in e are sent as text, as WebSocket understands it.
func (e Encoding) Text() bool { return e == JSON }

// ParseEncoding returns the encoding with this name (json, msgpack, cbor).
func ParseEncoding(name string) (Encoding, bool) {
	for e := JSON; e <= CBOR; e++ {
		if e.String() == name {
			return e, true
		}
	}
	return 0, false
}
