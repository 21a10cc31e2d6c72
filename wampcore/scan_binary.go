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

// stackDepth is how many levels a scanner walks without calling itself: a larger stack costs small messages more to
// clear than they take to scan.
const stackDepth = 16

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
