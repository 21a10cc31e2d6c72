package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf16"
)

// pythonJSON writes a JSON value that was scanned as Python's json.dumps does: with its defaults (spaces, and all that is not ASCII
// escaped), or compact and as text.
func pythonJSON(raw []byte, defaults bool) []byte {
	b := make([]byte, 0, len(raw)+len(raw)/8)
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; c {
		case ' ', '\t', '\n', '\r':
		case ',', ':':
			if b = append(b, c); defaults {
				b = append(b, ' ')
			}
		case '"':
			end := i + 1
			for end < len(raw) && raw[end] != '"' {
				if raw[end] == '\\' {
					end++
				}
				end++
			}
			end = min(end+1, len(raw))
			var text string
			_ = json.Unmarshal(raw[i:end], &text) // it was scanned
			b = pythonString(b, text, defaults)
			i = end - 1
		default:
			b = append(b, c)
		}
	}
	return b
}

// pythonString appends a text as json.dumps writes it.
func pythonString(b []byte, text string, ascii bool) []byte {
	b = append(b, '"')
	for _, r := range text {
		switch short := strings.IndexRune("\"\\\n\r\t\f\b", r); {
		case short >= 0:
			b = append(b, '\\', `"\nrtfb`[short])
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		case r < 0x7f || !ascii:
			b = append(b, string(r)...)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			b = fmt.Appendf(b, `\u%04x\u%04x`, high, low)
		default:
			b = fmt.Appendf(b, `\u%04x`, r)
		}
	}
	return append(b, '"')
}

// pythonBytes is the repr of bytes.
func pythonBytes(s string) string {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	b := []byte{'b', quote}
	for i := range len(s) {
		switch c := s[i]; {
		case c == quote || c == '\\':
			b = append(b, '\\', c)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ' || c > '~':
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, quote))
}
