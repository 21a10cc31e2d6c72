package wampcore

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"math/big"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// Transcode returns p in encoding e: p itself if it is in that encoding. Binary, integers to 64 bits and floats keep
// their kind.
func (p Payload) Transcode(e Encoding) Payload {
	if p.Encoding == e || p.Empty() {
		return p
	}
	w := writer{e: e, b: make([]byte, 0, p.Size()+p.Size()/4+16)}
	out := Payload{Encoding: e}
	if len(p.Args) > 0 {
		w.value(p.Encoding, p.Args)
		out.Args = slices.Clip(w.b)
	}
	if len(p.Kwargs) > 0 {
		start := len(w.b)
		w.sep = false
		w.value(p.Encoding, p.Kwargs)
		out.Kwargs = w.b[start:]
		if len(p.Args) > 0 {
			out.Args = w.b[:start:start]
		}
	}
	return out
}

// value appends a scanned value that is in encoding from.
func (w *writer) value(from Encoding, b []byte) {
	switch from {
	case w.e:
		w.raw(b)
	case JSON:
		w.fromJSON(b, space(b, 0))
	case MessagePack:
		w.fromMsgpack(b, 0)
	default:
		w.fromCBOR(b, 0)
	}
}

// fromJSON appends the JSON value at i and returns its end.
func (w *writer) fromJSON(b []byte, i int) int {
	switch b[i] {
	case '"':
		raw, end := jsonString(b, i)
		w.fromJSONString(raw, true)
		return end
	case '{':
		return w.fromJSONDict(b, i)
	case '[':
		return w.fromJSONList(b, i)
	case 't':
		w.bool(true)
		return i + len("true")
	case 'f':
		w.bool(false)
		return i + len("false")
	case 'n':
		w.null()
		return i + len("null")
	default:
		return w.fromJSONNumber(b, i)
	}
}

func (w *writer) fromJSONDict(b []byte, i int) int {
	mark, n := w.open(kindDict), 0
	for i = space(b, i+1); b[i] != '}'; n++ {
		if b[i] == ',' {
			i = space(b, i+1)
		}
		raw, end := jsonString(b, i)
		w.fromJSONString(raw, false)
		w.colon()
		i = space(b, end)
		i = w.fromJSON(b, space(b, i+1))
		i = space(b, i)
	}
	w.close(kindDict, mark, n)
	return i + 1
}

func (w *writer) fromJSONList(b []byte, i int) int {
	mark, n := w.open(kindList), 0
	for i = space(b, i+1); b[i] != ']'; n++ {
		if b[i] == ',' {
			i = space(b, i+1)
		}
		i = w.fromJSON(b, i)
		i = space(b, i)
	}
	w.close(kindList, mark, n)
	return i + 1
}

// jsonString returns what stands between the quotes of the string at i, still escaped, and its end.
func jsonString(b []byte, i int) ([]byte, int) {
	start := i + 1
	for i = start; b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return b[start:i], i + 1
}

// fromJSONString appends a string, or the bytes that a value's string stands for.
func (w *writer) fromJSONString(raw []byte, value bool) {
	if bytes.IndexByte(raw, '\\') < 0 {
		w.bytesString(raw)
		return
	}
	var room [512]byte
	s := unescape(room[:0], raw)
	if value && len(s) > 0 && s[0] == 0 {
		if p, err := base64.StdEncoding.Strict().AppendDecode(nil, s[1:]); err == nil {
			w.binary(p)
			return
		}
	}
	w.bytesString(s)
}

// unescape appends what a JSON string means. Half a surrogate pair becomes U+FFFD.
func unescape(dst, raw []byte) []byte {
	for i := 0; i < len(raw); {
		if raw[i] != '\\' {
			dst = append(dst, raw[i])
			i++
			continue
		}
		c := raw[i+1]
		i += 2
		switch c {
		case 'n':
			c = '\n'
		case 't':
			c = '\t'
		case 'r':
			c = '\r'
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'u':
			r := hexRune(raw[i:])
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(0)
				if i+6 <= len(raw) && raw[i] == '\\' && raw[i+1] == 'u' {
					low = hexRune(raw[i+2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

func hexRune(b []byte) rune {
	var r rune
	for _, c := range b[:4] {
		if c > '9' {
			c = c | 0x20 - 'a' + 10
		} else {
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}

// fromJSONNumber appends an integer as one if 64 bits hold it, anything else as a float.
func (w *writer) fromJSONNumber(b []byte, i int) int {
	end, integer := i, true
	for end < len(b) && (b[end]-'0' <= 9 || b[end] == '-' || b[end] == '+' || b[end] == '.' || b[end]|0x20 == 'e') {
		integer = integer && b[end] != '.' && b[end]|0x20 != 'e'
		end++
	}
	if integer {
		if v, ok := parseUint(b[i:end]); ok {
			w.uint(v)
			return end
		}
		if v, err := strconv.ParseInt(string(b[i:end]), 10, 64); err == nil {
			w.int(v)
			return end
		}
	}
	v, _ := strconv.ParseFloat(string(b[i:end]), 64) // it was scanned; what is too large becomes infinite
	w.float(v, 64)
	return end
}

// parseUint reads decimal digits.
func parseUint(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 20 {
		return 0, false
	}
	var v uint64
	for _, c := range b {
		if c -= '0'; c > 9 {
			return 0, false
		}
		next := v*10 + uint64(c)
		if v > math.MaxUint64/10 || next < v*10 {
			return 0, false
		}
		v = next
	}
	return v, true
}

// fromMsgpack appends the MessagePack value at i and returns its end.
func (w *writer) fromMsgpack(b []byte, i int) int {
	h, _ := msgpackHead(b, i) // it was scanned
	i += h.size
	switch h.kind {
	case kindList:
		w.list(h.n)
		for range h.n {
			i = w.fromMsgpack(b, i)
		}
		w.endList()
		return i
	case kindDict:
		w.dict(h.n)
		for range h.n {
			i = w.keyFrom(b, i, w.fromMsgpack)
			i = w.fromMsgpack(b, i)
		}
		w.endDict()
		return i
	case kindString:
		w.bytesString(b[i : i+h.n])
	case kindBinary:
		w.binary(b[i : i+h.n])
	case kindExt:
		if h.bits == 0 && h.n == 1 && b[i] == 0 {
			w.undefined()
		} else {
			w.binary(b[i : i+h.n])
		}
	default:
		w.scalar(h)
	}
	return i + h.n
}

// keyFrom appends a dict's key with its source's function. JSON has strings only: another key becomes its JSON text.
func (w *writer) keyFrom(b []byte, i int, from func([]byte, int) int) int {
	w.comma()
	start := len(w.b)
	w.sep = false
	i = from(b, i)
	if w.e == JSON {
		key := w.b[start:]
		if key[0] != '"' {
			text := string(key)
			w.b = appendJSONString(w.b[:start], text)
		}
	}
	w.colon()
	return i
}

func (w *writer) scalar(h head) {
	switch h.kind {
	case kindUint:
		w.uint(h.bits)
	case kindInt:
		w.int(int64(h.bits))
	case kindNegBig:
		w.negBig(h.bits)
	case kindFalse, kindTrue:
		w.bool(h.kind == kindTrue)
	case kindFloat16:
		w.float(halfFloat(uint16(h.bits)), 64)
	case kindFloat32:
		w.float(float64(math.Float32frombits(uint32(h.bits))), 32)
	case kindFloat64:
		w.float(math.Float64frombits(h.bits), 64)
	case kindUndefined:
		w.undefined()
	default:
		w.null()
	}
}

// negBig appends -1-v, which no int64 holds.
func (w *writer) negBig(v uint64) {
	if w.e != JSON {
		w.float(-1-float64(v), 64)
		return
	}
	n := new(big.Int).SetUint64(v)
	w.comma()
	w.b = n.Not(n).Append(w.b, 10)
}

func halfFloat(v uint16) float64 {
	exp, frac := int(v>>10&0x1f), float64(v&0x3ff)
	var f float64
	switch exp {
	case 0:
		f = math.Ldexp(frac, -24)
	case 0x1f:
		f = math.Inf(1)
		if frac != 0 {
			f = math.NaN()
		}
	default:
		f = math.Ldexp(frac+1024, exp-25)
	}
	if v&0x8000 != 0 {
		f = -f
	}
	return f
}

// fromCBOR appends the CBOR value at i and returns its end. Tags are dropped, but for those of large integers.
func (w *writer) fromCBOR(b []byte, i int) int {
	h, _ := cborHead(b, i) // it was scanned
	i += h.size
	for h.kind == kindTag {
		tag := h.bits
		h, _ = cborHead(b, i)
		i += h.size
		if (tag == 2 || tag == 3) && h.kind == kindBinary && !h.open {
			w.bigInt(b[i:i+h.n], tag == 3)
			return i + h.n
		}
	}
	switch h.kind {
	case kindString, kindBinary:
		s, end := cborString(b, i, h)
		if h.kind == kindString {
			w.bytesString(s)
		} else {
			w.binary(s)
		}
		return end
	case kindList, kindDict:
		return w.fromCBORContainer(b, i, h)
	default:
		w.scalar(h)
		return i
	}
}

func (w *writer) fromCBORContainer(b []byte, i int, h head) int {
	mark, n := w.open(h.kind), 0
	for h.open || n < h.n {
		if h.open && b[i] == 0xff {
			i++
			break
		}
		if h.kind == kindDict {
			i = w.keyFrom(b, i, w.fromCBOR)
		}
		i = w.fromCBOR(b, i)
		n++
	}
	w.close(h.kind, mark, n)
	return i
}

// cborString returns the content of the string whose head ends at i, joining chunks, and its end.
func cborString(b []byte, i int, h head) ([]byte, int) {
	if !h.open {
		return b[i : i+h.n], i + h.n
	}
	var s []byte
	for {
		chunk, _ := cborHead(b, i)
		i += chunk.size
		if chunk.kind == kindBreak {
			return s, i
		}
		s = append(s, b[i:i+chunk.n]...)
		i += chunk.n
	}
}

// maxBigInt is how long an integer may be, in bytes, to be written in digits: that takes the square of its length.
const maxBigInt = 128

func (w *writer) bigInt(p []byte, negative bool) {
	if len(p) > maxBigInt {
		w.binary(p)
		return
	}
	var room [8]byte
	n := new(big.Int).SetBytes(p)
	if n.IsUint64() {
		v := binary.BigEndian.Uint64(n.FillBytes(room[:]))
		switch {
		case !negative:
			w.uint(v)
		case v <= math.MaxInt64:
			w.int(^int64(v))
		default:
			w.negBig(v)
		}
		return
	}
	if negative {
		n.Not(n)
	}
	if w.e != JSON {
		f, _ := new(big.Float).SetInt(n).Float64()
		w.float(f, 64)
		return
	}
	w.comma()
	w.b = n.Append(w.b, 10)
}
