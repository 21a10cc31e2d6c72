package bridge

import (
	"bytes"
	"encoding/json"
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// EncodeResult returns {"args":[…],"kwargs":{…}}, without what is absent.
func EncodeResult(p wampcore.Payload) []byte { return AppendResult(nil, wampcore.JSON, p) }

// AppendResult appends {"args":[…],"kwargs":{…}}, without what is absent, in an encoding.
func AppendResult(b []byte, e wampcore.Encoding, p wampcore.Payload) []byte {
	p = p.Transcode(e)
	b = slices.Grow(b, p.Size()+len(`{"args":,"kwargs":}`))
	if e != wampcore.JSON {
		return appendBinaryResult(b, e, p)
	}
	b = append(b, '{')
	if len(p.Args) > 0 {
		b = append(append(b, `"args":`...), p.Args...)
	}
	if len(p.Kwargs) > 0 {
		if len(p.Args) > 0 {
			b = append(b, ',')
		}
		b = append(append(b, `"kwargs":`...), p.Kwargs...)
	}
	return append(b, '}')
}

func appendBinaryResult(b []byte, e wampcore.Encoding, p wampcore.Payload) []byte {
	dict, text := byte(0x80), byte(0xa0) // the heads of short dicts and strings
	if e == wampcore.CBOR {
		dict, text = 0xa0, 0x60
	}
	head := len(b)
	b = append(b, dict)
	for _, m := range []struct {
		name  string
		value []byte
	}{{"args", p.Args}, {"kwargs", p.Kwargs}} {
		if len(m.value) > 0 {
			b[head]++
			b = append(b, text|byte(len(m.name)))
			b = append(append(b, m.name...), m.value...)
		}
	}
	return b
}

// FirstArg returns the first argument in JSON, null if there is none.
func FirstArg(p wampcore.Payload) []byte { return FirstArgIn(p, wampcore.JSON) }

// FirstArgIn returns the first argument in an encoding, null if there is none.
func FirstArgIn(p wampcore.Payload, e wampcore.Encoding) []byte {
	first := p.First()
	if len(first.Bytes) == 0 {
		first = wampcore.Raw{Encoding: wampcore.JSON, Bytes: []byte("null")}
	}
	return Transcode(first, e)
}

// Transcode returns a value in another encoding.
func Transcode(v wampcore.Raw, e wampcore.Encoding) []byte {
	return wampcore.Payload{Encoding: v.Encoding, Args: v.Bytes}.Transcode(e).Args
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}
