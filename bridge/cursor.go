package bridge

import (
	"strconv"
	"strings"

	"github.com/wampgate/wampgate/wampcore"
)

// cursorPrefix says what a cursor is made of, should that ever be something else.
const cursorPrefix = "1."

// Cursor returns what a reader names to go on behind a publication, 0 being none. The publications of a realm have one order over all
// topics, so it holds for any set of them.
func Cursor(publication wampcore.ID) string {
	if publication == 0 {
		return ""
	}
	return cursorPrefix + strconv.FormatUint(uint64(publication), 36)
}

// AppendCursor appends a cursor.
func AppendCursor(b []byte, publication wampcore.ID) []byte {
	return strconv.AppendUint(append(b, cursorPrefix...), uint64(publication), 36)
}

// ParseCursor returns the publication that a cursor is behind. A publication's id is a cursor as well.
func ParseCursor(s string) (wampcore.ID, bool) {
	base := 10
	if digits, ok := strings.CutPrefix(s, cursorPrefix); ok {
		s, base = digits, 36
	}
	n, err := strconv.ParseUint(s, base, 64)
	id := wampcore.ID(n)
	return id, err == nil && id.Valid()
}
