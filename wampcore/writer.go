package wampcore

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"unicode/utf8"
)

// writer appends values in one encoding. Lists and dicts whose length is not known beforehand are opened and closed.
type writer struct {
	e   Encoding
	b   []byte
	sep bool // JSON: a comma comes before the next value
}

func (w *writer) comma() {
	if w.e == JSON {
		if w.sep {
			w.b = append(w.b, ',')
		}
		w.sep = true
	}
}

// raw appends a value that is encoded already.
func (w *writer) raw(b []byte) {
	w.comma()
	w.b = append(w.b, b...)
}

func (w *writer) null() {
	w.comma()
	switch w.e {
	case JSON:
		w.b = append(w.b, "null"...)
	case MessagePack:
		w.b = append(w.b, 0xc0)
	default:
		w.b = append(w.b, 0xf6)
	}
}

// undefined is what some clients send for an option that they do not set; JSON has null alone.
func (w *writer) undefined() {
	switch w.e {
	case MessagePack:
		w.b = append(w.b, 0xd4, 0, 0)
	case CBOR:
		w.b = append(w.b, 0xf7)
	default:
		w.null()
	}
}

func (w *writer) bool(v bool) {
	w.comma()
	switch {
	case w.e == JSON:
		w.b = strconv.AppendBool(w.b, v)
	case w.e == MessagePack && v:
		w.b = append(w.b, 0xc3)
	case w.e == MessagePack:
		w.b = append(w.b, 0xc2)
	case v:
		w.b = append(w.b, 0xf5)
	default:
		w.b = append(w.b, 0xf4)
	}
}

func (w *writer) uint(v uint64) {
	w.comma()
	switch w.e {
	case JSON:
		w.b = strconv.AppendUint(w.b, v, 10)
	case MessagePack:
		w.b = appendMsgpackUint(w.b, v)
	default:
		w.b = appendCBORHead(w.b, 0, v)
	}
}

func (w *writer) int(v int64) {
	if v >= 0 {
		w.uint(uint64(v))
		return
	}
	w.comma()
	switch w.e {
	case JSON:
		w.b = strconv.AppendInt(w.b, v, 10)
	case MessagePack:
		w.b = appendMsgpackInt(w.b, v)
	default:
		w.b = appendCBORHead(w.b, 1, uint64(^v))
	}
}

func appendMsgpackUint(b []byte, v uint64) []byte {
	switch {
	case v <= 0x7f:
		return append(b, byte(v))
	case v <= math.MaxUint8:
		return append(b, 0xcc, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, 0xce), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xcf), v)
	}
}

func appendMsgpackInt(b []byte, v int64) []byte {
	switch {
	case v >= -32:
		return append(b, byte(v))
	case v >= math.MinInt8:
		return append(b, 0xd0, byte(v))
	case v >= math.MinInt16:
		return binary.BigEndian.AppendUint16(append(b, 0xd1), uint16(v))
	case v >= math.MinInt32:
		return binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
	}
}

func appendCBORHead(b []byte, major byte, v uint64) []byte {
	major <<= 5
	switch {
	case v < 24:
		return append(b, major|byte(v))
	case v <= math.MaxUint8:
		return append(b, major|24, byte(v))
	case v <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, major|25), uint16(v))
	case v <= math.MaxUint32:
		return binary.BigEndian.AppendUint32(append(b, major|26), uint32(v))
	default:
		return binary.BigEndian.AppendUint64(append(b, major|27), v)
	}
}

// float appends a number that stays a float: in JSON it has a point or an exponent. JSON has no NaN and no infinity.
func (w *writer) float(v float64, size int) {
	switch w.e {
	case JSON:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			w.null()
			return
		}
		w.comma()
		start := len(w.b)
		w.b = strconv.AppendFloat(w.b, v, 'g', -1, size)
		for _, c := range w.b[start:] {
			if c == '.' || c == 'e' {
				return
			}
		}
		w.b = append(w.b, ".0"...)
	case MessagePack:
		if size == 32 {
			w.b = binary.BigEndian.AppendUint32(append(w.b, 0xca), math.Float32bits(float32(v)))
			return
		}
		w.b = binary.BigEndian.AppendUint64(append(w.b, 0xcb), math.Float64bits(v))
	default:
		if size == 32 {
			w.b = binary.BigEndian.AppendUint32(append(w.b, 0xfa), math.Float32bits(float32(v)))
			return
		}
		w.b = binary.BigEndian.AppendUint64(append(w.b, 0xfb), math.Float64bits(v))
	}
}

// stringHead appends the head of a string of n bytes; not for JSON.
func (w *writer) stringHead(n int) {
	switch {
	case w.e == CBOR:
		w.b = appendCBORHead(w.b, 3, uint64(n))
	case n < 32:
		w.b = append(w.b, 0xa0|byte(n))
	case n <= math.MaxUint8:
		w.b = append(w.b, 0xd9, byte(n))
	case n <= math.MaxUint16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, 0xda), uint16(n))
	default:
		w.b = binary.BigEndian.AppendUint32(append(w.b, 0xdb), uint32(n))
	}
}

func (w *writer) string(s string) {
	w.comma()
	if w.e == JSON {
		w.b = appendJSONString(w.b, s)
		return
	}
	w.stringHead(len(s))
	w.b = append(w.b, s...)
}

func (w *writer) bytesString(s []byte) {
	w.comma()
	if w.e == JSON {
		w.b = appendJSONString(w.b, s)
		return
	}
	w.stringHead(len(s))
	w.b = append(w.b, s...)
}

// binary appends bytes. JSON has no such thing: WAMP writes U+0000 and base64. [RFC binary conversion of JSON strings]
func (w *writer) binary(p []byte) {
	w.comma()
	n := len(p)
	switch {
	case w.e == JSON:
		w.b = append(w.b, `"\u0000`...)
		w.b = base64.StdEncoding.AppendEncode(w.b, p)
		w.b = append(w.b, '"')
		return
	case w.e == CBOR:
		w.b = appendCBORHead(w.b, 2, uint64(n))
	case n <= math.MaxUint8:
		w.b = append(w.b, 0xc4, byte(n))
	case n <= math.MaxUint16:
		w.b = binary.BigEndian.AppendUint16(append(w.b, 0xc5), uint16(n))
	default:
		w.b = binary.BigEndian.AppendUint32(append(w.b, 0xc6), uint32(n))
	}
	w.b = append(w.b, p...)
}

// key appends a dict's key.
func (w *writer) key(s string) {
	w.string(s)
	w.colon()
}

func (w *writer) colon() {
	if w.e == JSON {
		w.b = append(w.b, ':')
		w.sep = false
	}
}

// list begins a list of n elements; end ends it.
func (w *writer) list(n int) {
	w.comma()
	w.sep = false
	switch w.e {
	case JSON:
		w.b = append(w.b, '[')
	case CBOR:
		w.b = appendCBORHead(w.b, 4, uint64(n))
	default:
		w.b = appendMsgpackCount(w.b, kindList, n)
	}
}

// dict begins a dict of n pairs; endDict ends it.
func (w *writer) dict(n int) {
	w.comma()
	w.sep = false
	switch w.e {
	case JSON:
		w.b = append(w.b, '{')
	case CBOR:
		w.b = appendCBORHead(w.b, 5, uint64(n))
	default:
		w.b = appendMsgpackCount(w.b, kindDict, n)
	}
}

func (w *writer) endList() {
	if w.e == JSON {
		w.b = append(w.b, ']')
		w.sep = true
	}
}

func (w *writer) endDict() {
	if w.e == JSON {
		w.b = append(w.b, '}')
		w.sep = true
	}
}

func appendMsgpackCount(b []byte, k kind, n int) []byte {
	fix, wide := byte(0x90), byte(0xdc)
	if k == kindDict {
		fix, wide = 0x80, 0xde
	}
	switch {
	case n < 16:
		return append(b, fix|byte(n))
	case n <= math.MaxUint16:
		return binary.BigEndian.AppendUint16(append(b, wide), uint16(n))
	default:
		return binary.BigEndian.AppendUint32(append(b, wide+1), uint32(n))
	}
}

// open begins a list or dict of unknown length and returns the mark that close wants.
func (w *writer) open(k kind) int {
	if k == kindDict {
		w.dict(0)
	} else {
		w.list(0)
	}
	return len(w.b) - 1
}

// close ends what open began, which has got n elements or pairs. The head is one byte; for many, room is made.
func (w *writer) close(k kind, mark, n int) {
	switch {
	case w.e == JSON && k == kindDict:
		w.endDict()
	case w.e == JSON:
		w.endList()
	case w.e == MessagePack && n < 16, w.e == CBOR && n < 24:
		w.b[mark] |= byte(n)
	default:
		var room [9]byte
		var head []byte
		switch {
		case w.e == MessagePack:
			head = appendMsgpackCount(room[:0], k, n)
		case k == kindDict:
			head = appendCBORHead(room[:0], 5, uint64(n))
		default:
			head = appendCBORHead(room[:0], 4, uint64(n))
		}
		end := len(w.b)
		w.b = append(w.b, head[1:]...) // for its length
		copy(w.b[mark+len(head):], w.b[mark+1:end])
		copy(w.b[mark:], head)
	}
}

// appendJSONString appends s in quotes, escaping what has to be and nothing else. What is no UTF-8 becomes U+FFFD.
func appendJSONString[T string | []byte](b []byte, s T) []byte {
	const hexDigits = "0123456789abcdef"
	b = append(b, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				b = append(b, s[start:i]...)
				b = append(b, "\ufffd"...)
				start = i + 1
			}
			i += size
			continue
		}
		if c >= 0x20 && c != '"' && c != '\\' {
			i++
			continue
		}
		b = append(b, s[start:i]...)
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\n':
			b = append(b, '\\', 'n')
		case '\r':
			b = append(b, '\\', 'r')
		case '\t':
			b = append(b, '\\', 't')
		default:
			b = append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		i++
		start = i
	}
	b = append(b, s[start:]...)
	return append(b, '"')
}
