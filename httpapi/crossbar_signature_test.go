package httpapi //nolint:testpackage // what is tested is not seen from outside but by a hundred thousand requests

import (
	"testing"
	"time"
)

func TestSignaturesThatWereForgottenAreNotTakenAgain(t *testing.T) {
	s := newSignatures(2, 0)
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0) }
	for i, want := range []struct {
		sum  byte
		when int64
		use  usage
	}{
		{1, 30, usedFirst},
		{2, 10, usedFirst},
		{1, 30, usedBefore},
		{3, 20, usedFirst}, // 2 is forgotten: it has the oldest time
		{2, 10, usedTooOld},
		{4, 9, usedTooOld},
		{1, 30, usedBefore},
		{3, 20, usedBefore},
		{5, 40, usedFirst},
		{3, 20, usedTooOld},
	} {
		if got := s.use([32]byte{want.sum}, at(want.when)); got != want.use {
			t.Errorf("step %d: got %d, want %d", i, got, want.use)
		}
	}
	s = newSignatures(100, time.Second)
	for i := range byte(50) {
		s.use([32]byte{i}, at(int64(i)+1))
	}
	if len(s.used) > 1 || len(s.oldest) > 1 {
		t.Errorf("%d are kept whose time is over", len(s.used))
	}
}

func FuzzPythonTime(f *testing.F) {
	f.Add("2014-06-03T16:51:41.123Z")
	f.Add("2014-6-3T1:1:1.1Z")
	f.Fuzz(func(t *testing.T, text string) {
		if when, ok := parsePythonTime(text); ok && (when.Year() < 1 || when.Year() > 9999) {
			t.Errorf("%q is %s", text, when)
		}
	})
}
