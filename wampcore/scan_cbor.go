package wampcore

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
				return 0, ErrDepth
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
			return 0, ErrDepth
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
