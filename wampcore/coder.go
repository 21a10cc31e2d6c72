package wampcore

import (
	"fmt"
	"reflect"
	"sync"

	"github.com/ugorji/go/codec"
)

// What applications put into messages and take out of them goes through ugorji/go/codec, in MessagePack alone: the other
// encodings are transcoded, so that binary, integers and floats mean the same in all three.

// msgpackHandle is never changed after it is made. It decodes only what Scan has let pass.
var msgpackHandle = newMsgpackHandle() //nolint:gochecknoglobals // a constant

func newMsgpackHandle() *codec.MsgpackHandle {
	h := new(codec.MsgpackHandle)
	h.MapType = reflect.TypeFor[map[string]any]()
	h.WriteExt = true
	h.PositiveIntUnsigned = true
	h.InterfaceReset = true
	h.MaxInitLen = 64
	h.MaxDepth = maxDepth
	h.Raw = true
	return h
}

// Coders take more memory than what they mostly code, so they are used again, but for those that have failed. One that waits for that may hold what it
// coded last, which therefore is not large.
var encoders, decoders sync.Pool //nolint:gochecknoglobals // pools are shared

const maxHeld = 16 << 10

func encodeMsgpack(v any) (b []byte, err error) {
	enc, ok := encoders.Get().(*codec.Encoder)
	if ok {
		enc.ResetBytes(&b)
	} else {
		enc = codec.NewEncoderBytes(&b, msgpackHandle)
	}
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	if len(b) <= maxHeld {
		enc.ResetBytes(new([]byte))
		encoders.Put(enc)
	}
	return b, nil
}

func decodeMsgpack(b []byte, into any) error {
	dec, ok := decoders.Get().(*codec.Decoder)
	if ok {
		dec.ResetBytes(b)
	} else {
		dec = codec.NewDecoderBytes(b, msgpackHandle)
	}
	if err := dec.Decode(into); err != nil {
		return fmt.Errorf("decode %T: %w", into, err)
	}
	if len(b) <= maxHeld {
		dec.ResetBytes(nil)
		decoders.Put(dec)
	}
	return nil
}
