package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/wampgate/wampgate/wampcore"
)

// AppendEvent appends what a reader gets of an event, in JSON. The payload is as it came: numbers are exact.
func AppendEvent(b []byte, topic wampcore.URI, e *wampcore.Event) []byte {
	p := e.Payload.Transcode(wampcore.JSON)
	b = appendString(append(b, `{"topic":`...), string(topic))
	b = strconv.AppendUint(append(b, `,"publication":`...), uint64(e.Publication), 10)
	if len(p.Args) > 0 {
		b = append(append(b, `,"args":`...), p.Args...)
	}
	if len(p.Kwargs) > 0 {
		b = append(append(b, `,"kwargs":`...), p.Kwargs...)
	}
	b = appendDetails(append(b, `,"details":{`...), &e.Details)
	return append(b, "}}"...)
}

func appendDetails(b []byte, d *wampcore.EventDetails) []byte {
	start := len(b)
	member := func(name string) {
		if len(b) > start {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
	}
	if d.Publisher != 0 {
		member("publisher")
		b = strconv.AppendUint(b, uint64(d.Publisher), 10)
	}
	for _, text := range [...][2]string{
		{"publisher_authid", d.PublisherAuthID},
		{"publisher_authrole", d.PublisherAuthRole},
		{"ppt_scheme", d.Passthru.Scheme},
		{"ppt_serializer", d.Passthru.Serializer},
		{"ppt_cipher", d.Passthru.Cipher},
		{"ppt_keyid", d.Passthru.KeyID},
	} {
		if text[1] != "" {
			member(text[0])
			b = appendString(b, text[1])
		}
	}
	if d.TrustLevel != nil {
		member("trustlevel")
		b = strconv.AppendInt(b, *d.TrustLevel, 10)
	}
	if d.Retained {
		member("retained")
		b = append(b, "true"...)
	}
	for _, a := range d.Custom {
		member(a.Key)
		b = append(b, asJSON(a.Value)...)
	}
	return b
}

// appendString appends a string in JSON.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // it cannot be
				quoted = []byte(`""`)
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// page is an answer of wamp.subscription.get_events.
type page struct {
	events []*wampcore.Event
	more   bool
	gap    bool
	last   wampcore.ID // 0: nothing is kept, or the router does not say
}

var errPast = errors.New("the result of wamp.subscription.get_events is not what it has to be")

// decodePast returns the events as subscribers got them. Where the router gives no topic it is that of the subscription.
func decodePast(p wampcore.Payload) (page, error) {
	var out page
	var said struct {
		More bool        `codec:"more"`
		Gap  bool        `codec:"gap"`
		Last wampcore.ID `codec:"last"`
	}
	if err := p.DecodeKwargs(&said); err != nil {
		return out, fmt.Errorf("%w: %w", errPast, err)
	}
	out.more, out.gap, out.last = said.More, said.Gap, said.Last
	p = p.Transcode(wampcore.JSON)
	if len(p.Args) == 0 {
		return out, nil
	}
	list, ok := wampcore.Raw{Encoding: wampcore.JSON, Bytes: p.Args}.List()
	if !ok {
		return out, errPast
	}
	var d pastDecoder
	for raw, more := list.Next(); more; raw, more = list.Next() {
		e, err := d.decode(raw)
		if err != nil {
			return out, fmt.Errorf("%w: %w", errPast, err)
		}
		out.events = append(out.events, e)
	}
	return out, nil
}

// pastDecoder turns an event as the router returns it into one as it was sent.
type pastDecoder struct {
	decoder wampcore.Decoder
	buf     []byte
}

func (d *pastDecoder) decode(raw wampcore.Raw) (*wampcore.Event, error) {
	dict, ok := raw.Dict()
	if !ok {
		return nil, errPast
	}
	publication, args, kwargs, extra := []byte("0"), []byte("[]"), []byte("{}"), []byte("{}")
	for key, more := dict.Next(); more; key, more = dict.Next() {
		value, _ := dict.Next()
		name, _ := key.Text()
		if value.Null() {
			continue
		}
		switch string(name) {
		case "publication":
			publication = value.Bytes
		case "args":
			args = value.Bytes
		case "kwargs":
			kwargs = value.Bytes
		case "details":
			extra = value.Bytes
		}
	}
	d.buf = append(d.buf[:0], "[36,1"...)
	for _, part := range [...][]byte{publication, extra, args, kwargs} {
		d.buf = append(append(d.buf, ','), part...)
	}
	m, err := d.decoder.Decode(wampcore.JSON, append(d.buf, ']'))
	e, _ := m.(*wampcore.Event)
	if err != nil || e == nil {
		return nil, errors.Join(errPast, err)
	}
	return &wampcore.Event{Publication: e.Publication, Details: e.Details, Payload: e.Payload.Take()}, nil
}
