package httpapi

import (
	"net/http"
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

// format is how a body is written.
type format uint8

// The formats. The first three are wampcore's encodings; answers in the others go on.
const (
	noFormat      format = 0
	formatJSON           = format(wampcore.JSON)
	formatMsgpack        = format(wampcore.MessagePack)
	formatCBOR           = format(wampcore.CBOR)
	eventStream   format = 4 // server-sent events
	jsonLines     format = 5 // an object a line
)

// encoding returns the encoding of the values in a body.
func (f format) encoding() wampcore.Encoding {
	if f == formatMsgpack || f == formatCBOR {
		return wampcore.Encoding(f)
	}
	return wampcore.JSON
}

// mediaType is a name that a format goes by.
type mediaType struct {
	format format
	name   string
	header []string // the name, as a header's value
}

// mediaTypes has the name that answers have before the others that are taken.
var mediaTypes = []mediaType{ //nolint:gochecknoglobals // a constant table
	newMediaType(formatJSON, "application/json"),
	newMediaType(formatCBOR, "application/cbor"),
	newMediaType(formatMsgpack, "application/msgpack"),
	newMediaType(formatMsgpack, "application/vnd.msgpack"),
	newMediaType(formatMsgpack, "application/x-msgpack"),
	newMediaType(eventStream, "text/event-stream"),
	newMediaType(jsonLines, "application/jsonl"),
	newMediaType(jsonLines, "application/x-ndjson"),
}

func newMediaType(f format, name string) mediaType {
	return mediaType{format: f, name: name, header: []string{name}}
}

// header returns what an answer in a format says of it.
func (f format) header() []string {
	for i := range mediaTypes {
		if mediaTypes[i].format == f {
			return mediaTypes[i].header
		}
	}
	return nil
}

// The formats that answers have, in the order of what is preferred where a client likes several as well.
var (
	encodings        = []format{formatJSON, formatCBOR, formatMsgpack}                         //nolint:gochecknoglobals // a constant table
	encodingsStreams = []format{formatJSON, formatCBOR, formatMsgpack, eventStream, jsonLines} //nolint:gochecknoglobals // a constant table
)

// bodyFormat returns the format that Content-Type names, noFormat if it is none of those that there are.
func bodyFormat(r *http.Request) format {
	values := r.Header["Content-Type"]
	if len(values) != 1 {
		return noFormat
	}
	name, _, _ := strings.Cut(values[0], ";")
	name = strings.TrimSpace(name)
	for i := range mediaTypes {
		if f := mediaTypes[i].format; f != eventStream && strings.EqualFold(name, mediaTypes[i].name) {
			return f
		}
	}
	return noFormat
}

// choice is the format of an answer, by the name that the client knows it by.
type choice struct {
	format format
	header []string
}

// negotiate returns the one of the formats that the client likes best, false if it takes none. Of several that it likes as
// well it is the one of the request's body, else the first. [RFC 9110 12.5.1]
func negotiate(r *http.Request, body format, offers []format) (choice, bool) {
	accept := r.Header["Accept"]
	preferred := offers[0]
	for _, f := range offers {
		if f == body {
			preferred = f
		}
	}
	if len(accept) == 0 || len(accept) == 1 && (accept[0] == "*/*" || accept[0] == "") { // by far the most frequent
		return choice{preferred, preferred.header()}, true
	}
	ranges := acceptRanges(accept)
	best, most := liked(ranges, preferred)
	for _, f := range offers {
		if c, q := liked(ranges, f); q > most {
			best, most = c, q
		}
	}
	if most == 0 {
		return choice{}, false
	}
	return best, true
}

// liked returns how much a client likes a format, and the name that it has for it.
func liked(ranges []mediaRange, f format) (best choice, most int) {
	named := false
	for i := range mediaTypes {
		m := &mediaTypes[i]
		if m.format != f {
			continue
		}
		q, exact := quality(ranges, m.name)
		if best.header == nil || exact && (!named || q > most) {
			best, most, named = choice{f, m.header}, q, exact
		}
	}
	return best, most
}

// accepts reports whether the Accept header lets a media type pass.
func accepts(r *http.Request, kind string) bool {
	accept := r.Header["Accept"]
	if len(accept) == 0 || len(accept) == 1 && (accept[0] == "*/*" || accept[0] == "" || accept[0] == kind) {
		return true
	}
	q, _ := quality(acceptRanges(accept), kind)
	return q > 0
}

// mediaRange is an element of Accept.
type mediaRange struct {
	name string // such as text/html, text/* or */*
	q    int    // in thousandths
}

// maxRanges is how many elements of an Accept header are looked at.
const maxRanges = 64

// acceptRanges takes Accept apart. What is no media range is ignored; a header without any takes everything.
func acceptRanges(values []string) []mediaRange {
	ranges := make([]mediaRange, 0, 8)
	empty := true
	for _, value := range values {
		for part := range splitQuoted(value, ',') {
			if len(ranges) == maxRanges {
				return ranges
			}
			empty = empty && part == ""
			if m, ok := parseRange(part); ok {
				ranges = append(ranges, m)
			}
		}
	}
	if empty {
		ranges = append(ranges, mediaRange{"*/*", 1000})
	}
	return ranges
}

// parseRange reads an element of Accept or Accept-Encoding.
func parseRange(s string) (mediaRange, bool) {
	m := mediaRange{q: 1000}
	ok := true
	for part := range splitQuoted(s, ';') {
		if m.name == "" {
			if m.name = part; part == "" {
				return m, false
			}
			continue
		}
		if len(part) > 2 && part[0]|0x20 == 'q' && part[1] == '=' {
			m.q, ok = parseQuality(part[2:])
			break // what follows is an extension
		}
	}
	return m, ok && m.name != ""
}

// splitQuoted yields the parts of s between separators that are not in quotes, without the white space around them.
func splitQuoted(s string, separator byte) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		quoted, start := false, 0
		for i := 0; i < len(s); i++ {
			switch c := s[i]; {
			case quoted && c == '\\':
				i++
			case c == '"':
				quoted = !quoted
			case c == separator && !quoted:
				if !yield(strings.Trim(s[start:i], " \t")) {
					return
				}
				start = i + 1
			}
		}
		yield(strings.Trim(s[start:], " \t"))
	}
}

// parseQuality reads a weight: 0 to 1 with up to three decimals. [RFC 9110 12.4.2]
func parseQuality(s string) (int, bool) {
	if s == "" || len(s) > len("0.000") || s[0] != '0' && s[0] != '1' || len(s) > 1 && s[1] != '.' {
		return 0, false
	}
	q, unit := 1000*int(s[0]-'0'), 100
	for i := 2; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		q += unit * int(s[i]-'0')
		unit /= 10
	}
	return q, q <= 1000
}

// quality returns the weight of a media type, by the range that describes it most closely, and whether that names it.
func quality(ranges []mediaRange, name string) (q int, exact bool) {
	major, _, _ := strings.Cut(name, "/")
	closest := 0
	for _, m := range ranges {
		near := 0
		switch {
		case strings.EqualFold(m.name, name):
			near = 3
		case m.name == "*/*":
			near = 1
		case len(m.name) == len(major)+2 && strings.HasSuffix(m.name, "/*") && strings.EqualFold(m.name[:len(major)], major):
			near = 2
		}
		if near > closest || near == closest && near > 0 && m.q > q {
			closest, q = near, m.q
		}
	}
	return q, closest == 3
}

// acceptPost is what a body may be.
const acceptPost = "application/json, application/cbor, application/msgpack, application/jsonl"
