package wampcore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/bits"
	"unicode/utf8"
)

// ErrDepth is what Scan says of lists and dicts that are nested deeper than 128 levels.
var ErrDepth = errors.New("lists and dicts are nested too deep")

// maxDepth is how deep lists and dicts may be nested in a message.
const maxDepth = 128

// maxTags is how many CBOR tags may stand before one value.
const maxTags = 8

var (
	errTruncated = errors.New("the value is cut short")
	errSyntax    = errors.New("the syntax is wrong")
	errTrailing  = errors.New("something follows the value")
	errUTF8      = errors.New("a string is no UTF-8")
	errNotList   = errors.New("it is no list")
	errElements  = errors.New("the list has too many elements")
)

// Scan reports whether b is exactly one well-formed value in encoding e, nested at most 128 deep. What it lets pass can
// be walked without further checks.
func Scan(e Encoding, b []byte) error {
	var end int
	var err error
	switch e {
	case JSON:
		end, err = skipJSON(b, space(b, 0))
		if err == nil {
			end = space(b, end)
		}
	case MessagePack:
		end, err = skipMsgpack(b, 0)
	default:
		end, err = skipCBOR(b, 0)
	}
	if err == nil && end != len(b) {
		err = errTrailing
	}
	return err
}

// frame is a message cut into its elements, each still encoded.
type frame struct {
	n        int
	elements [7][]byte // no message has more
}

// split cuts a list into its elements, validating all of it.
func (f *frame) split(e Encoding, b []byte) error {
	f.n = 0
	switch e {
	case JSON:
		return f.splitJSON(b)
	case MessagePack:
		return f.splitMsgpack(b)
	default:
		return f.splitCBOR(b)
	}
}

// add scans one element at i and returns its end.
func (f *frame) add(b []byte, i int, skip func([]byte, int) (int, error)) (int, error) {
	if f.n == len(f.elements) {
		return 0, errElements
	}
	end, err := skip(b, i)
	if err != nil {
		return 0, err
	}
	f.elements[f.n] = b[i:end:end]
	f.n++
	return end, nil
}

func (f *frame) splitJSON(b []byte) error {
	i := space(b, 0)
	if i >= len(b) || b[i] != '[' {
		return errNotList
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == ']' {
		i++
	} else {
		for more := true; more; {
			var err error
			if i, err = f.add(b, i, skipJSON); err != nil {
				return err
			}
			i = space(b, i)
			switch {
			case i >= len(b):
				return errTruncated
			case b[i] == ',':
				i = space(b, i+1)
			case b[i] == ']':
				i++
				more = false
			default:
				return errSyntax
			}
		}
	}
	if space(b, i) != len(b) {
		return errTrailing
	}
	return nil
}

// space returns the index of the first byte from i on that is no JSON white space.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skipJSON validates the value at i and returns its end. It keeps the nesting in a bit set, a 1 for a dict, so that
// hostile nesting costs nothing.
func skipJSON(b []byte, i int) (int, error) { //nolint:gocognit // one loop, which calls would slow down
	var dicts [maxDepth / 64]uint64
	depth := 0
	key := false // a dict's key comes next
	for {
		if i >= len(b) {
			return 0, errTruncated
		}
		if key {
			var err error
			if i, err = skipJSONKey(b, i); err != nil {
				return 0, err
			}
			if i >= len(b) {
				return 0, errTruncated
			}
		}
		switch c := b[i]; c {
		case '"':
			end, err := skipJSONString(b, i+1)
			if err != nil {
				return 0, err
			}
			i = end
		case '{', '[':
			if depth == maxDepth {
				return 0, ErrDepth
			}
			i = space(b, i+1)
			if i < len(b) && b[i] == c+2 { // "}" and "]" are two after their openers
				i++
				break
			}
			dicts[depth>>6] &^= 1 << (depth & 63)
			if key = c == '{'; key {
				dicts[depth>>6] |= 1 << (depth & 63)
			}
			depth++
			continue
		default:
			end, err := skipJSONAtom(b, i)
			if err != nil {
				return 0, err
			}
			i = end
		}
		var err error
		if i, depth, key, err = afterJSON(b, i, depth, &dicts); err != nil || depth < 0 {
			return i, err
		}
	}
}

// afterJSON goes from the end of a value to where the next one, or a key, begins. A depth below 0 says that there is none.
func afterJSON(b []byte, i, depth int, dicts *[maxDepth / 64]uint64) (int, int, bool, error) {
	for depth > 0 {
		i = space(b, i)
		if i >= len(b) {
			return 0, 0, false, errTruncated
		}
		dict := dicts[(depth-1)>>6]>>((depth-1)&63)&1 == 1
		switch c := b[i]; {
		case c == ',':
			return space(b, i+1), depth, dict, nil
		case c == '}' && dict, c == ']' && !dict:
			depth--
			i++
		default:
			return 0, 0, false, errSyntax
		}
	}
	return i, -1, false, nil
}

func skipJSONKey(b []byte, i int) (int, error) {
	if b[i] != '"' {
		return 0, errSyntax
	}
	i, err := skipJSONString(b, i+1)
	if err != nil {
		return 0, err
	}
	if i = space(b, i); i >= len(b) {
		return 0, errTruncated
	}
	if b[i] != ':' {
		return 0, errSyntax
	}
	return space(b, i+1), nil
}

func skipJSONAtom(b []byte, i int) (int, error) {
	var word string
	switch b[i] {
	case 't':
		word = "true"
	case 'f':
		word = "false"
	case 'n':
		word = "null"
	default:
		return skipJSONNumber(b, i)
	}
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return 0, errSyntax
	}
	return i + len(word), nil
}

// Masks for looking at 8 bytes at once.
const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// longString is how much of a string is scanned for all that matters at once. What is longer is looked through for one
// thing after another, which is faster per byte, but takes longer to begin.
const longString = 64

// skipJSONString returns the index behind the closing quote; i is behind the opening one. It looks at 8 bytes at once.
func skipJSONString(b []byte, i int) (int, error) {
	start, seen := i, uint64(0) // seen collects the high bits: is there anything but ASCII?
	for {
		for i+8 <= len(b) {
			if i-start >= longString {
				return skipLongJSONString(b, start, i, seen)
			}
			x := binary.LittleEndian.Uint64(b[i:])
			quote, slash := x^ones*'"', x^ones*'\\'
			special := ((x-ones*0x20)&^x | (quote-ones)&^quote | (slash-ones)&^slash) & highs
			if special == 0 {
				seen |= x
				i += 8
				continue
			}
			n := bits.TrailingZeros64(special) >> 3
			seen |= x & (1<<(n*8) - 1)
			i += n
			break
		}
		for i < len(b) && b[i] != '"' && b[i] != '\\' && b[i] >= 0x20 {
			seen |= uint64(b[i])
			i++
		}
		switch {
		case i >= len(b):
			return 0, errTruncated
		case b[i] == '"':
			if seen&highs != 0 && !utf8.Valid(b[start:i]) {
				return 0, errUTF8
			}
			return i + 1, nil
		case b[i] != '\\':
			return 0, errSyntax // a control character
		}
		n, err := skipJSONEscape(b, i)
		if err != nil {
			return 0, err
		}
		i += n
	}
}

// skipLongJSONString goes on at i with the string that began at start. No byte is looked at twice for the same thing.
func skipLongJSONString(b []byte, start, i int, seen uint64) (int, error) {
	end := -1 // of what has no quote
	for {
		if i > end { // the last one was escaped
			n := bytes.IndexByte(b[i:], '"')
			if n < 0 {
				return 0, errTruncated
			}
			end = i + n
		}
		n := bytes.IndexByte(b[i:end], '\\')
		plain := end
		if n >= 0 {
			plain = i + n
		}
		controls, all := classify(b[i:plain])
		if controls {
			return 0, errSyntax
		}
		seen |= all
		if n < 0 {
			if seen&highs != 0 && !utf8.Valid(b[start:end]) {
				return 0, errUTF8
			}
			return end + 1, nil
		}
		n, err := skipJSONEscape(b, plain)
		if err != nil {
			return 0, err
		}
		i = plain + n
	}
}

// classify reports whether there are control characters in b, and what bits are set in any of its bytes.
func classify(b []byte) (controls bool, seen uint64) {
	var found uint64
	for len(b) >= 32 {
		p := b[:32]
		w, x := binary.LittleEndian.Uint64(p), binary.LittleEndian.Uint64(p[8:])
		y, z := binary.LittleEndian.Uint64(p[16:]), binary.LittleEndian.Uint64(p[24:])
		found |= (w-ones*0x20)&^w | (x-ones*0x20)&^x | (y-ones*0x20)&^y | (z-ones*0x20)&^z
		seen |= w | x | y | z
		b = b[32:]
	}
	for _, c := range b {
		controls = controls || c < 0x20
		seen |= uint64(c)
	}
	return controls || found&highs != 0, seen
}

func skipJSONEscape(b []byte, i int) (int, error) {
	if i+1 >= len(b) {
		return 0, errTruncated
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2, nil
	case 'u':
		if i+6 > len(b) {
			return 0, errTruncated
		}
		for _, c := range b[i+2 : i+6] {
			if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'f') {
				return 0, errSyntax
			}
		}
		return 6, nil
	}
	return 0, errSyntax
}

func skipJSONNumber(b []byte, i int) (int, error) {
	if b[i] == '-' {
		i++
	}
	end := digits(b, i)
	if end == i || b[i] == '0' && end > i+1 {
		return 0, errSyntax
	}
	i = end
	if i < len(b) && b[i] == '.' {
		if end = digits(b, i+1); end == i+1 {
			return 0, errSyntax
		}
		i = end
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		if end = digits(b, i); end == i {
			return 0, errSyntax
		}
		i = end
	}
	return i, nil
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}
