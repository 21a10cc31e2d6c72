package wampcore

import (
	"bytes"
	"errors"
	"fmt"
	"math"

	"github.com/ugorji/go/codec"
)

// NewPayload encodes arguments; either may be empty. Structs are encoded by their codec or json tags.
func NewPayload(e Encoding, args []any, kwargs map[string]any) (Payload, error) {
	p := Payload{Encoding: e}
	if len(args) > 0 {
		r, err := NewRaw(e, args)
		if err != nil {
			return Payload{}, err
		}
		p.Args = r.Bytes
	}
	if len(kwargs) > 0 {
		r, err := NewRaw(e, kwargs)
		if err != nil {
			return Payload{}, err
		}
		p.Kwargs = r.Bytes
	}
	return p, nil
}

// NewRaw encodes one value.
func NewRaw(e Encoding, v any) (Raw, error) {
	b, err := encodeMsgpack(v)
	if err != nil {
		return Raw{}, fmt.Errorf("encode %T: %w", v, err)
	}
	if err := Scan(MessagePack, b); err != nil {
		return Raw{}, fmt.Errorf("encode %T: %w", v, err)
	}
	return Raw{Encoding: e, Bytes: Payload{Encoding: MessagePack, Args: b}.Transcode(e).Args}, nil
}

// DecodeArgs decodes the positional arguments, one into each pointer. Where there are fewer arguments, the pointers left
// over are left alone; where there are more, those are ignored.
func (p Payload) DecodeArgs(into ...any) error {
	if len(p.Args) == 0 {
		return nil
	}
	if err := Scan(p.Encoding, p.Args); err != nil {
		return fmt.Errorf("decode arguments: %w", err)
	}
	b := Payload{Encoding: p.Encoding, Args: p.Args}.Transcode(MessagePack).Args
	h, err := msgpackHead(b, 0)
	if err != nil || h.kind != kindList {
		return fmt.Errorf("decode arguments: %w", errNotList)
	}
	i := h.size
	for n := range min(h.n, len(into)) {
		end, err := skipMsgpack(b, i)
		if err != nil {
			return fmt.Errorf("decode argument %d: %w", n, err)
		}
		if err := decodeMsgpack(b[i:end], into[n]); err != nil {
			return fmt.Errorf("decode argument %d: %w", n, err)
		}
		i = end
	}
	return nil
}

// DecodeKwargs decodes the keyword arguments into a pointer to a map or a struct.
func (p Payload) DecodeKwargs(into any) error {
	if len(p.Kwargs) == 0 {
		return nil
	}
	return Raw{Encoding: p.Encoding, Bytes: p.Kwargs}.Decode(into)
}

// Decode decodes the value into a pointer; no value leaves it alone.
func (r Raw) Decode(into any) error {
	if len(r.Bytes) == 0 {
		return nil
	}
	if err := Scan(r.Encoding, r.Bytes); err != nil {
		return fmt.Errorf("decode: %w", err)
	}
	return decodeMsgpack(Payload{Encoding: r.Encoding, Args: r.Bytes}.Transcode(MessagePack).Args, into)
}

// ref is one encoded value that was scanned, for the few that the protocol itself looks into: options and details. Its
// methods insist on the exact type.
type ref struct {
	e Encoding
	b []byte
}

var (
	errNotBool   = errors.New("is not a boolean")
	errNotInt    = errors.New("is not an integer")
	errNotString = errors.New("is not a string")
	errNotDict   = errors.New("is not a dict")
	errNoList    = errors.New("is not a list")
	errBadID     = errors.New("is not an id, an integer from 1 to 2^53")
	errNegative  = errors.New("is negative")
)

func (v ref) head() head {
	var h head
	switch v.e {
	case MessagePack:
		h, _ = msgpackHead(v.b, 0)
	case CBOR:
		i := 0
		for { // tags say nothing here
			h, _ = cborHead(v.b, i)
			i += h.size
			if h.kind != kindTag {
				h.size = i
				return h
			}
		}
	default: // JSON has no heads
	}
	return h
}

// absent reports whether the value stands for none: null, or one of the forms in which clients send undefined.
func (v ref) absent() bool {
	if v.e == JSON {
		return v.b[0] == 'n'
	}
	if c := v.b[0]; v.e == MessagePack && c < 0xc0 || v.e == CBOR && c < 0xc0 {
		return false // by far the most frequent
	}
	h := v.head()
	return h.kind == kindNull || h.kind == kindUndefined ||
		h.kind == kindExt && h.bits == 0 && h.n == 1 && v.b[h.size] == 0
}

func (v ref) bool() (bool, error) {
	if v.e == JSON {
		if v.b[0] == 't' || v.b[0] == 'f' {
			return v.b[0] == 't', nil
		}
		return false, errNotBool
	}
	h := v.head()
	if h.kind != kindTrue && h.kind != kindFalse {
		return false, errNotBool
	}
	return h.kind == kindTrue, nil
}

// uint returns an integer that is not negative; tooLarge ones are the largest. Some clients send integers as floats.
func (v ref) uint() (uint64, error) {
	if v.e == JSON {
		n, ok := parseUint(v.b)
		if !ok {
			if _, err := skipJSONNumber(v.b, 0); err == nil && v.b[0] == '-' {
				return 0, errNegative
			}
			return 0, errNotInt
		}
		return n, nil
	}
	switch c := v.b[0]; { // the value is whole, so that its length tells how its head ends
	case v.e == MessagePack && c >= 0xcc && c <= 0xcf, v.e == CBOR && c >= 0x18 && c <= 0x1b:
		return bigEndian(v.b[1:], len(v.b)-1), nil
	case v.e == MessagePack && c <= 0x7f, v.e == CBOR && c <= 0x17:
		return uint64(c), nil
	}
	h := v.head()
	var f float64
	switch h.kind {
	case kindUint:
		return h.bits, nil
	case kindInt, kindNegBig:
		return 0, errNegative
	case kindFloat32:
		f = float64(math.Float32frombits(uint32(h.bits)))
	case kindFloat64:
		f = math.Float64frombits(h.bits)
	case kindFloat16:
		f = halfFloat(uint16(h.bits))
	default:
		return 0, errNotInt
	}
	switch {
	case f != math.Trunc(f) || math.IsInf(f, 0): // NaN is unlike itself
		return 0, errNotInt
	case f < 0:
		return 0, errNegative
	}
	return uint64(min(f, 1<<63)), nil
}

func (v ref) id() (ID, error) {
	n, err := v.uint()
	if err != nil || !ID(n).Valid() {
		return 0, errBadID
	}
	return ID(n), nil
}

// str returns a string's bytes, which may point into v.
func (v ref) str() ([]byte, error) {
	if v.e == JSON {
		if v.b[0] != '"' {
			return nil, errNotString
		}
		raw, _ := jsonString(v.b, 0)
		if bytes.IndexByte(raw, '\\') >= 0 {
			return unescape(nil, raw), nil
		}
		return raw, nil
	}
	switch c := v.b[0]; { // short ones
	case v.e == MessagePack && c >= 0xa0 && c <= 0xbf, v.e == CBOR && c >= 0x60 && c <= 0x77:
		return v.b[1:], nil
	case v.e == MessagePack && c == 0xd9, v.e == CBOR && c == 0x78:
		return v.b[2:], nil
	}
	h := v.head()
	if h.kind != kindString {
		return nil, errNotString
	}
	if v.e == MessagePack {
		return v.b[h.size : h.size+h.n], nil
	}
	s, _ := cborString(v.b, h.size, h)
	return s, nil
}

// elements calls f for each element of a list.
func (v ref) elements(f func(ref) error) error {
	var c cursor
	if !c.begin(v, kindList) {
		return errNoList
	}
	for {
		e, ok := c.next()
		if !ok {
			return nil
		}
		if err := f(e); err != nil {
			return err
		}
	}
}

// pairs calls f for each pair of a dict. The keys have to be strings, and unique: that is checked among the first 16.
func (v ref) pairs(f func(key []byte, v ref) error) error {
	var c cursor
	if !c.begin(v, kindDict) {
		return errNotDict
	}
	var seen [16][]byte
	for n := 0; ; n++ {
		k, ok := c.next()
		if !ok {
			return nil
		}
		key, err := k.str()
		if err != nil {
			return errors.New("has a key that is not a string")
		}
		for _, s := range seen[:min(n, len(seen))] {
			if string(s) == string(key) {
				return fmt.Errorf("has the key %q twice", key)
			}
		}
		if n < len(seen) {
			seen[n] = key
		}
		value, _ := c.next()
		if err := f(key, value); err != nil {
			return err
		}
	}
}

// cursor goes through the elements of a list, or the keys and values of a dict.
type cursor struct {
	e    Encoding
	b    []byte
	i    int
	left int // elements; not for JSON
	open bool
}

func (c *cursor) begin(v ref, want kind) bool {
	c.e, c.b = v.e, v.b
	if v.e == JSON {
		c.i = 1
		return v.b[0] == '[' && want == kindList || v.b[0] == '{' && want == kindDict
	}
	switch first := v.b[0]; { // short ones
	case v.e == MessagePack && first >= 0x90 && first <= 0x9f && want == kindList:
		c.i, c.left = 1, int(first&0x0f)
		return true
	case v.e == CBOR && first >= 0x80 && first <= 0x97 && want == kindList:
		c.i, c.left = 1, int(first&0x1f)
		return true
	}
	h := v.head()
	c.i, c.left, c.open = h.size, h.n, h.open
	if want == kindDict {
		c.left *= 2
	}
	return h.kind == want
}

func (c *cursor) next() (ref, bool) {
	var end int
	switch {
	case c.e == JSON:
		c.i = space(c.b, c.i)
		if c.b[c.i] == ',' || c.b[c.i] == ':' {
			c.i = space(c.b, c.i+1)
		}
		if c.b[c.i] == ']' || c.b[c.i] == '}' {
			return ref{}, false
		}
		end, _ = skipJSON(c.b, c.i)
	case c.open && c.b[c.i] == 0xff, !c.open && c.left == 0:
		return ref{}, false
	case c.e == MessagePack:
		end, _ = skipMsgpack(c.b, c.i)
	default:
		end, _ = skipCBOR(c.b, c.i)
	}
	v := ref{c.e, c.b[c.i:end:end]}
	c.i = end
	c.left--
	return v, true
}

// CodecEncodeSelf makes a Raw inside other values stand for the value that it is.
func (r Raw) CodecEncodeSelf(e *codec.Encoder) {
	b := []byte{0xc0}
	if len(r.Bytes) > 0 {
		b = Payload{Encoding: r.Encoding, Args: r.Bytes}.Transcode(MessagePack).Args
	}
	e.MustEncode(codec.Raw(b))
}

// CodecDecodeSelf takes the value as it is encoded.
func (r *Raw) CodecDecodeSelf(d *codec.Decoder) {
	var b codec.Raw
	d.MustDecode(&b)
	*r = Raw{Encoding: MessagePack, Bytes: append([]byte(nil), b...)}
}

// CodecEncodeSelf writes an integer.
func (id ID) CodecEncodeSelf(e *codec.Encoder) { e.MustEncode(uint64(id)) }

// CodecDecodeSelf takes integral floats, too: some clients send ids above 2^32 as such, and the library takes none above
// 2^52.
func (id *ID) CodecDecodeSelf(d *codec.Decoder) {
	var b codec.Raw
	d.MustDecode(&b)
	n, err := (ref{MessagePack, b}).uint()
	if err != nil {
		panic(fmt.Errorf("an id %w", err)) // which Decode returns
	}
	*id = ID(n)
}

// NewPublish returns the PUBLISH that its parts, some of which may be empty, would make on the wire. Options that are not
// as they have to be are an error.
func NewPublish(topic URI, args, kwargs, options Raw) (*Publish, error) {
	w := writer{e: MessagePack}
	w.list(6)
	w.uint(uint64(TypePublish))
	w.uint(1)
	w.rawDict(options)
	w.string(string(topic))
	if len(args.Bytes) > 0 {
		w.value(args.Encoding, args.Bytes)
	} else {
		w.list(0)
	}
	w.rawDict(kwargs)
	w.endList()
	m, err := new(Decoder).Decode(MessagePack, w.b)
	if err != nil {
		return nil, err
	}
	publish, _ := m.(*Publish)
	return publish, nil
}
