package wampcore

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
			return 0, ErrDepth
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
