package wampcore

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// URI names a topic, a procedure, a realm or an error: all share one namespace. [WAMP URIs] Its length is bounded by the
// message's alone.
type URI string

// Valid reports whether u is a URI: components that are not empty, joined by dots, without white space or "#". Strict
// components have lower-case letters, digits and "_" only.
func (u URI) Valid(strict bool) bool { return u != "" && wellFormed(string(u), strict, false, false) }

// ValidPattern reports whether u can be matched by m: exact wants a URI; a prefix may end in an empty component; a
// wildcard may have empty components anywhere.
func (u URI) ValidPattern(m Match, strict bool) bool {
	switch m {
	case MatchPrefix:
		return wellFormed(string(u), strict, false, true)
	case MatchWildcard:
		return wellFormed(string(u), strict, true, true)
	default:
		return u.Valid(strict)
	}
}

// Reserved reports whether u belongs to the protocol: its first component is "wamp".
func (u URI) Reserved() bool {
	rest, ok := strings.CutPrefix(string(u), "wamp")
	return ok && (rest == "" || rest[0] == '.')
}

// wellFormed checks every character; emptyInner and emptyLast say which components may be empty. The regular expressions
// of the RFC are not used: in Go \s knows ASCII only.
func wellFormed(s string, strict, emptyInner, emptyLast bool) bool { //nolint:gocognit // one pass over the characters
	empty := true // the component so far
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '.':
			if empty && !emptyInner {
				return false
			}
			empty = true
			i++
			continue
		case c == '_' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
			i++
		case strict:
			return false
		case c < utf8.RuneSelf:
			if c == '#' || c == ' ' || c >= '\t' && c <= '\r' {
				return false
			}
			i++
		default:
			r, size := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && size == 1 || unicode.IsSpace(r) {
				return false
			}
			i += size
		}
		empty = false
	}
	return !empty || emptyLast
}
