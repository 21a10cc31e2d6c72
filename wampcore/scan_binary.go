package wampcore

import "encoding/binary"

// head is the beginning of a MessagePack or CBOR value.
type head struct {
	kind kind
	n    int    // length of what follows: bytes of a string, elements of a list, pairs of a dict
	size int    // of the head itself
	bits uint64 // of an integer, a float or a tag
	open bool   // CBOR: the length is not said; a break ends it
}

// kind is what sort of value it is.
type kind uint8

const (
	kindNull kind = iota
	kindUndefined
	kindFalse
	kindTrue
	kindUint
	kindInt    // bits is an int64, negative
	kindNegBig // CBOR: -1-bits, below what an int64 holds
	kindFloat32
	kindFloat64
	kindFloat16
	kindString
	kindBinary
	kindList
	kindDict
	kindExt // MessagePack: bits is the type
	kindTag // CBOR: bits is the tag
	kindSimple
	kindBreak
)

// msgpackHead reads the head of the MessagePack value at i.
func msgpackHead(b []byte, i int) (head, error) {
	if i >= len(b) {
		return head{}, errTruncated
	}
	c := b[i]
	switch {
	case c <= 0x7f:
		return head{kind: kindUint, size: 1, bits: uint64(c)}, nil
	case c <= 0x8f:
		return head{kind: kindDict, size: 1, n: int(c & 0x0f)}, nil
	case c <= 0x9f:
		return head{kind: kindList, size: 1, n: int(c & 0x0f)}, nil
	case c <= 0xbf:
		return head{kind: kindString, size: 1, n: int(c & 0x1f)}, nil
	case c >= 0xe0:
		return head{kind: kindInt, size: 1, bits: uint64(int64(int8(c)))}, nil
	case c == 0xc1:
		return head{}, errSyntax
	}
	f := msgpackForms[c-0xc0]
	if len(b)-i < 1+int(f.width)+int(f.extra) {
		return head{}, errTruncated
	}
	v := bigEndian(b[i+1:], int(f.width))
	h := head{kind: f.kind, size: 1 + int(f.width), bits: v}
	switch f.kind {
	case kindString, kindBinary, kindList, kindDict:
		h.n = int(v)
	case kindExt:
		h.n = int(v)
		if f.width == 0 {
			h.n = int(f.fixed)
		}
		h.bits = uint64(b[i+h.size])
		h.size++
	case kindInt:
		shift := 64 - 8*int(f.width)
		n := int64(v<<shift) >> shift
		h.bits = uint64(n)
		if n >= 0 {
			h.kind = kindUint
		}
	default:
	}
	return h, nil
}

// msgpackForms describes the first bytes from 0xc0 to 0xdf.
var msgpackForms = [32]struct { //nolint:gochecknoglobals // a constant table
	kind                kind
	width, extra, fixed uint8
}{
	0x00: {kind: kindNull}, 0x02: {kind: kindFalse}, 0x03: {kind: kindTrue},
	0x04: {kindBinary, 1, 0, 0}, 0x05: {kindBinary, 2, 0, 0}, 0x06: {kindBinary, 4, 0, 0},
	0x07: {kindExt, 1, 1, 0}, 0x08: {kindExt, 2, 1, 0}, 0x09: {kindExt, 4, 1, 0},
	0x0a: {kindFloat32, 4, 0, 0}, 0x0b: {kindFloat64, 8, 0, 0},
	0x0c: {kindUint, 1, 0, 0}, 0x0d: {kindUint, 2, 0, 0}, 0x0e: {kindUint, 4, 0, 0}, 0x0f: {kindUint, 8, 0, 0},
	0x10: {kindInt, 1, 0, 0}, 0x11: {kindInt, 2, 0, 0}, 0x12: {kindInt, 4, 0, 0}, 0x13: {kindInt, 8, 0, 0},
	0x14: {kindExt, 0, 1, 1}, 0x15: {kindExt, 0, 1, 2}, 0x16: {kindExt, 0, 1, 4}, 0x17: {kindExt, 0, 1, 8}, 0x18: {kindExt, 0, 1, 16},
	0x19: {kindString, 1, 0, 0}, 0x1a: {kindString, 2, 0, 0}, 0x1b: {kindString, 4, 0, 0},
	0x1c: {kindList, 2, 0, 0}, 0x1d: {kindList, 4, 0, 0},
	0x1e: {kindDict, 2, 0, 0}, 0x1f: {kindDict, 4, 0, 0},
}

func bigEndian(b []byte, width int) uint64 {
	switch width {
	case 1:
		return uint64(b[0])
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	case 8:
		return binary.BigEndian.Uint64(b)
	default:
		return 0
	}
}

// msgpackPlain has the length of a whole value by its first byte, for those whose first byte tells it; 0 for the rest.
var msgpackPlain = msgpackPlainLengths() //nolint:gochecknoglobals // a constant table

func msgpackPlainLengths() (lengths [256]uint8) {
	for c := range lengths {
		switch {
		case c <= 0x7f, c >= 0xe0, c == 0xc0, c == 0xc2, c == 0xc3:
			lengths[c] = 1
		case c >= 0xa0 && c <= 0xbf:
			lengths[c] = 1 + uint8(c&0x1f)
		case c >= 0xca && c <= 0xd8:
			f := msgpackForms[c-0xc0]
			lengths[c] = 1 + f.width + f.extra + f.fixed
		}
	}
	return lengths
}

// skipMsgpack validates the value at i and returns its end. Every element takes a byte at least, so a length beyond what
// is there is refused before anything is done with it.
func skipMsgpack(b []byte, i int) (int, error) {
	if i < len(b) {
		if n := int(msgpackPlain[b[i]]); n != 0 && n <= len(b)-i {
			return i + n, nil
		}
	}
	return skipMsgpackValues(b, i, 1, 0)
}

// stackDepth is how many levels a scanner walks without calling itself: a larger stack costs small messages more to
// clear than they take to scan.
const stackDepth = 16

// skipMsgpackValues is skipMsgpack for several values, inside lists and dicts that are depth deep already.
func skipMsgpackValues(b []byte, i, left, depth int) (int, error) { //nolint:gocognit,funlen // one loop, which calls would slow down
	var stack [stackDepth]int32 // what is left to skip on the levels above
	level := 0
	for {
		for left == 0 {
			if level == 0 {
				return i, nil
			}
			level--
			left = int(stack[level])
		}
		left--
		if i >= len(b) {
			return 0, errTruncated
		}
		c := b[i]
		if n := int(msgpackPlain[c]); n != 0 {
			if i += n; i > len(b) {
				return 0, errTruncated
			}
			continue
		}
		var n int
		switch {
		case c >= 0x80 && c <= 0x8f:
			i, n = i+1, 2*int(c&0x0f)
		case c >= 0x90 && c <= 0x9f:
			i, n = i+1, int(c&0x0f)
		default:
			h, err := msgpackHead(b, i)
			if err != nil {
				return 0, err
			}
			i, n = i+h.size, h.n
			switch {
			case h.kind == kindDict:
				n *= 2
			case h.kind != kindList:
				if i += n; i > len(b) {
					return 0, errTruncated
				}
				continue
			}
		}
		switch {
		case n > len(b)-i:
			return 0, errTruncated
		case depth+level == maxDepth:
			return 0, errDepth
		case level < stackDepth:
			stack[level] = int32(left)
			level++
			left = n
		default:
			var err error
			if i, err = skipMsgpackValues(b, i, n, depth+level+1); err != nil {
				return 0, err
			}
		}
	}
}

func (f *frame) splitMsgpack(b []byte) error {
	h, err := msgpackHead(b, 0)
	switch {
	case err != nil:
		return err
	case h.kind != kindList:
		return errNotList
	case h.n > len(f.elements):
		return errElements
	}
	i := h.size
	for range h.n {
		if i, err = f.add(b, i, skipMsgpack); err != nil {
			return err
		}
	}
	if i != len(b) {
		return errTrailing
	}
	return nil
}

// cborHead reads the head of the CBOR value at i.
func cborHead(b []byte, i int) (head, error) {
	if i >= len(b) {
		return head{}, errTruncated
	}
	major, info := b[i]>>5, b[i]&0x1f
	h := head{size: 1, bits: uint64(info)}
	switch {
	case info < 24:
	case info <= 27:
		width := 1 << (info - 24)
		if len(b)-i < 1+width {
			return head{}, errTruncated
		}
		h.size += width
		h.bits = bigEndian(b[i+1:], width)
	case info == 31 && major >= 2 && major != 6:
		h.open = true
	default:
		return head{}, errSyntax
	}
	switch major {
	case 0:
		h.kind = kindUint
	case 1:
		h.kind = kindInt
		if h.bits > 1<<63-1 {
			h.kind = kindNegBig
			return h, nil
		}
		h.bits = ^h.bits
	case 6:
		h.kind = kindTag
	case 7:
		return cborSimple(h, info)
	default:
		h.kind = [...]kind{2: kindBinary, 3: kindString, 4: kindList, 5: kindDict}[major]
		if h.open {
			return h, nil
		}
		if h.bits > uint64(len(b)) { // an element takes a byte at least
			return head{}, errTruncated
		}
		h.n = int(h.bits)
	}
	return h, nil
}

func cborSimple(h head, info byte) (head, error) {
	switch info {
	case 20:
		h.kind = kindFalse
	case 21:
		h.kind = kindTrue
	case 22:
		h.kind = kindNull
	case 23:
		h.kind = kindUndefined
	case 24:
		if h.bits < 32 {
			return h, errSyntax
		}
		h.kind = kindSimple
	case 25:
		h.kind = kindFloat16
	case 26:
		h.kind = kindFloat32
	case 27:
		h.kind = kindFloat64
	case 31:
		h.kind = kindBreak
	default:
		h.kind = kindSimple
	}
	return h, nil
}

// openList and openDict are what is left to skip in a list or dict that a break ends; openDictValue is a dict where a
// value has to come next.
const (
	openList = -1 - iota
	openDict
	openDictValue
)

// cborPlain has the length of a whole value by its first byte, for those whose first byte tells it; 0 for the rest.
var cborPlain = cborPlainLengths() //nolint:gochecknoglobals // a constant table

func cborPlainLengths() (lengths [256]uint8) {
	for c := range lengths {
		major, info := c>>5, c&0x1f
		switch {
		case (major == 2 || major == 3) && info < 24:
			lengths[c] = 1 + uint8(info)
		case major != 0 && major != 1 && major != 7:
		case info < 24:
			lengths[c] = 1
		case major == 7 && info == 24: // not every value is one
		case info <= 27:
			lengths[c] = 1 + 1<<(info-24)
		}
	}
	return lengths
}

// skipCBOR validates the value at i and returns its end.
func skipCBOR(b []byte, i int) (int, error) {
	if i < len(b) {
		if n := int(cborPlain[b[i]]); n != 0 && n <= len(b)-i {
			return i + n, nil
		}
	}
	return skipCBORValues(b, i, 1, 0)
}

// skipCBORValues is skipCBOR for several values, inside lists and dicts that are depth deep already.
func skipCBORValues(b []byte, i, left, depth int) (int, error) { //nolint:gocognit,funlen // one loop, which calls would slow down
	var stack [stackDepth]int32
	level := 0
	for tags := 0; ; {
		for left == 0 {
			if level == 0 {
				return i, nil
			}
			level--
			left = int(stack[level])
		}
		if i >= len(b) {
			return 0, errTruncated
		}
		c := b[i]
		if n := int(cborPlain[c]); n != 0 {
			if i += n; i > len(b) {
				return 0, errTruncated
			}
			tags, left = 0, afterElement(left)
			continue
		}
		h, err := cborHead(b, i)
		if err != nil {
			return 0, err
		}
		i += h.size
		if h.kind == kindTag { // belongs to the value behind it; decoders recurse on them
			if tags++; tags > maxTags {
				return 0, errDepth
			}
			continue
		}
		if h.kind == kindBreak {
			if tags > 0 || left != openList && left != openDict {
				return 0, errSyntax
			}
			if level == 0 { // the level is the caller's
				return i, nil
			}
			level--
			left = int(stack[level])
			continue
		}
		tags, left = 0, afterElement(left)
		if h.kind == kindString || h.kind == kindBinary {
			if i, err = skipCBORString(b, i, h); err != nil {
				return 0, err
			}
			continue
		}
		if h.kind != kindList && h.kind != kindDict {
			continue
		}
		n, err := cborElements(h, len(b)-i)
		switch {
		case err != nil:
			return 0, err
		case depth+level == maxDepth:
			return 0, errDepth
		case level < stackDepth:
			stack[level] = int32(left)
			level++
			left = n
		default:
			if i, err = skipCBORValues(b, i, n, depth+level+1); err != nil {
				return 0, err
			}
		}
	}
}

// afterElement returns what is left to skip on a level when one more element is done.
func afterElement(left int) int {
	switch left {
	case openList:
		return openList
	case openDict:
		return openDictValue
	case openDictValue:
		return openDict
	default:
		return left - 1
	}
}

// cborElements returns what there is to skip in a list or dict.
func cborElements(h head, rest int) (int, error) {
	switch {
	case h.open && h.kind == kindDict:
		return openDict, nil
	case h.open:
		return openList, nil
	case h.kind == kindDict:
		h.n *= 2
	}
	if h.n > rest {
		return 0, errTruncated
	}
	return h.n, nil
}

func skipCBORString(b []byte, i int, h head) (int, error) {
	if !h.open {
		if h.n > len(b)-i {
			return 0, errTruncated
		}
		return i + h.n, nil
	}
	for { // chunks of the same kind, each of a length that is said
		chunk, err := cborHead(b, i)
		if err != nil {
			return 0, err
		}
		i += chunk.size
		if chunk.kind == kindBreak {
			return i, nil
		}
		if chunk.kind != h.kind || chunk.open {
			return 0, errSyntax
		}
		if chunk.n > len(b)-i {
			return 0, errTruncated
		}
		i += chunk.n
	}
}

func (f *frame) splitCBOR(b []byte) error {
	h, err := cborHead(b, 0)
	i := h.size
	if err == nil && h.kind == kindTag && h.bits == 55799 { // self-described CBOR
		h, err = cborHead(b, i)
		i += h.size
	}
	switch {
	case err != nil:
		return err
	case h.kind != kindList:
		return errNotList
	case h.n > len(f.elements):
		return errElements
	}
	for n := 0; h.open || n < h.n; n++ {
		if h.open && i < len(b) && b[i] == 0xff {
			i++
			break
		}
		if i, err = f.add(b, i, skipCBOR); err != nil {
			return err
		}
	}
	if i != len(b) {
		return errTrailing
	}
	return nil
}
