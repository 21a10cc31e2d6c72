package wampcore

import (
	"crypto/rand"
	"encoding/binary"
)

// ID is a WAMP id: of a session, a request, a subscription, a registration, a publication. [WAMP ids]
type ID uint64

// MaxID is the largest id, 2^53: the largest integer below which a float64 has no gaps.
const MaxID ID = 1 << 53

// Valid reports whether id is within 1 and 2^53.
func (id ID) Valid() bool { return id-1 < MaxID }

// Next returns the id that follows id within a session: 1 comes after 0 and after 2^53.
func (id ID) Next() ID {
	if id >= MaxID {
		return 1
	}
	return id + 1
}

// NewID returns a random id, uniform over 1 to 2^53, for what has global scope: sessions and publications.
func NewID() ID {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return ID(binary.NativeEndian.Uint64(b[:])>>11) + 1
}
