package httpapi //nolint:testpackage // what is tested is not seen from outside but through a whole request

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/bridge"
)

func numbered(n int) (d digest) {
	binary.BigEndian.PutUint64(d[:], uint64(n))
	return d
}

// done keeps an answer of a size.
func (k *answers) done(tb testing.TB, who string, n, size int) {
	tb.Helper()
	e, _, err := k.begin(bridge.Principal{AuthID: who}, numbered(n), digest{})
	if err != nil || e == nil {
		tb.Fatalf("%d: got %v, %v", n, e, err)
	}
	k.keep(e, reply{body: make([]byte, size)})
}

func (k *answers) has(n int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.byID[numbered(n)] != nil
}

func TestAnswersAreForgottenAfterTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newAnswers(100, 1<<20, time.Minute)
		k.done(t, "a", 1, 10)
		time.Sleep(30 * time.Second) //nolint:forbidigo // the bubble's clock
		k.done(t, "a", 2, 10)
		time.Sleep(31 * time.Second) //nolint:forbidigo // the bubble's clock
		if s := k.stats(); k.has(1) || !k.has(2) || s.Entries != 1 || s.Bytes != answeredSize+10 || s.Evicted != 0 {
			t.Errorf("kept %+v", s)
		}
		time.Sleep(time.Minute) //nolint:forbidigo // the bubble's clock
		if s := k.stats(); s.Entries != 0 || s.Bytes != 0 || len(k.holders) != 0 {
			t.Errorf("kept %+v, %d holders", s, len(k.holders))
		}
	})
}

func TestOnePrincipalCannotPushTheAnswersOfOthersOut(t *testing.T) {
	k := newAnswers(40, 1<<20, time.Minute)
	k.done(t, "a", 1, 10)
	for n := range 1000 {
		k.done(t, "b", 100+n, 10)
	}
	if s := k.stats(); !k.has(1) || s.Entries != 11 || s.Evicted != 990 {
		t.Errorf("kept %+v", s)
	}
	for n := range 9 { // of principals that are many, the oldest go
		for m := range 5 {
			k.done(t, string(rune('c'+n)), 10_000+n*100+m, 10)
		}
	}
	if s := k.stats(); k.has(1) || s.Entries != 40 {
		t.Errorf("kept %+v", s)
	}
}

func TestBytesOfAnswersAreBounded(t *testing.T) {
	k := newAnswers(1000, 64<<10, time.Minute)
	for n := range 100 {
		k.done(t, "a", n, 3<<10)
	}
	if s := k.stats(); s.Bytes > 16<<10 || s.Entries == 0 || !k.has(99) || k.has(0) {
		t.Errorf("kept %+v", s)
	}
	k.done(t, "b", 1000, 1<<20)
	_, rep, err := k.begin(bridge.Principal{AuthID: "b"}, numbered(1000), digest{})
	if err != nil || rep.status != 409 {
		t.Errorf("got %v, %v", rep, err)
	}
}

func TestRequestsThatAreOpenAreBounded(t *testing.T) {
	k := newAnswers(40, 1<<20, time.Minute)
	for n := range 10 {
		if _, _, err := k.begin(bridge.Principal{}, numbered(n), digest{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := k.begin(bridge.Principal{}, numbered(10), digest{}); err == nil || asProblem(err).Status != 503 {
		t.Errorf("got %v", err)
	}
	if s := k.stats(); s.Entries != 10 {
		t.Errorf("kept %+v", s)
	}
}
