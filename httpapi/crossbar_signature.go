package httpapi

import (
	"container/heap"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"regexp"
	"strconv"
	"sync"
	"time"
)

const textInvalid = "REST bridge signature was invalid ("

func missing(what string) *denial {
	return &denial{400, textInvalid + "missing mandatory field - " + what + " field missing)."}
}

// What Python takes for a whole number, and for a time. The fraction is mandatory.
var (
	pythonInt  = regexp.MustCompile(`^[ \t\n\r\f\v]*[+-]?[0-9]+(_[0-9]+)*[ \t\n\r\f\v]*$`)
	pythonTime = regexp.MustCompile(`^(\d{4})-(\d{1,2})-(\d{1,2})T(\d{1,2}):(\d{1,2}):(\d{1,2})\.(\d{1,6})Z$`)
)

// fields checks the parameters of a signed request, also where it need not be signed.
func (req *crossbarRequest) fields() *denial {
	signed := req.c.Secret != ""
	if signed && !req.query.Has("key") {
		return missing("'key'")
	}
	if d := req.timestamp(signed); d != nil {
		return d
	}
	for _, f := range []struct{ name, what string }{{"seq", "sequence number"}, {"nonce", "nonce"}} {
		switch value := req.query.Get(f.name); {
		case req.query.Has(f.name) && !pythonInt.MatchString(value):
			return &denial{400, textInvalid + "invalid " + f.what + " '" + value + "' (must be an integer))."}
		case signed && !req.query.Has(f.name):
			return missing("'" + f.name + "'")
		}
	}
	if signed && !req.query.Has("signature") {
		return missing("'signature'")
	}
	return nil
}

func (req *crossbarRequest) timestamp(signed bool) *denial {
	if !req.query.Has("timestamp") {
		if signed {
			return missing("signed request required, but mandatory 'timestamp'")
		}
		return nil
	}
	text := req.query.Get("timestamp")
	var ok bool
	if req.when, ok = parsePythonTime(text); !ok {
		return &denial{400, textInvalid + "invalid timestamp '" + text + "' (must be UTC/ISO-8601, e.g. '2011-10-14T16:59:51.123Z'))."}
	}
	if limit := req.c.TimestampDelta; limit > 0 && time.Since(req.when).Abs() > limit {
		return &denial{400, "Request expired, too old timestamp."}
	}
	return nil
}

func parsePythonTime(text string) (time.Time, bool) {
	m := pythonTime.FindStringSubmatch(text)
	if m == nil {
		return time.Time{}, false
	}
	var n [7]int
	for i := range n {
		n[i], _ = strconv.Atoi(m[i+1]) // digits
	}
	for range 6 - len(m[7]) {
		n[6] *= 10
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], n[6]*1000, time.UTC)
	same := t.Year() == n[0] && t.Month() == time.Month(n[1]) && t.Day() == n[2] && t.Hour() == n[3] && t.Minute() == n[4] && t.Second() == n[5]
	return t, same && n[0] > 0
}

// signature checks that the request is the key's owner's, and comes for the first time.
func (req *crossbarRequest) signature() *denial {
	if req.c.Secret == "" {
		return nil
	}
	if !hmac.Equal([]byte(req.query.Get("key")), []byte(req.c.Key)) {
		return &denial{401, "REST bridge signature key not valid."}
	}
	h := hmac.New(sha256.New, []byte(req.c.Secret))
	for _, name := range []string{"key", "timestamp", "seq", "nonce"} {
		_, _ = h.Write([]byte(req.query.Get(name))) // it never fails
	}
	_, _ = h.Write(req.body)
	sum := h.Sum(nil)
	if !hmac.Equal([]byte(req.query.Get("signature")), []byte(base64.URLEncoding.EncodeToString(sum))) {
		return &denial{401, "REST bridge signature secret not valid."}
	}
	switch req.c.used.use([sha256.Size]byte(sum), req.when) {
	case usedBefore:
		req.c.a.crossbars.replayed.Add(1)
		return &denial{401, "REST bridge signature was used before."}
	case usedTooOld:
		return &denial{400, "Request expired, too old timestamp."}
	default:
		return nil
	}
}

// maxSignaturesKept is how many signatures of an endpoint are remembered.
const maxSignaturesKept = 100_000

// signatures remembers which were used. When there are too many, those with the oldest times are forgotten, and no request that is as
// old is taken any more: so a request is never done twice.
type signatures struct {
	most  int
	delta time.Duration

	mu     sync.Mutex
	used   map[[sha256.Size]byte]struct{}
	oldest oldestFirst
	from   time.Time // what is not after it is too old
}

type usage uint8

const (
	usedFirst usage = iota
	usedBefore
	usedTooOld
)

func newSignatures(most int, delta time.Duration) *signatures {
	return &signatures{most: most, delta: delta, used: map[[sha256.Size]byte]struct{}{}}
}

func (s *signatures) use(sum [sha256.Size]byte, when time.Time) usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, before := s.used[sum]; before {
		return usedBefore
	}
	if !when.After(s.from) {
		return usedTooOld
	}
	for len(s.oldest) > 0 && s.delta > 0 && time.Since(s.oldest[0].when) > 2*s.delta {
		s.forget()
	}
	s.used[sum] = struct{}{}
	heap.Push(&s.oldest, usedSignature{sum, when})
	if len(s.oldest) > s.most {
		s.from = s.forget()
	}
	return usedFirst
}

func (s *signatures) forget() time.Time {
	gone, _ := heap.Pop(&s.oldest).(usedSignature)
	delete(s.used, gone.sum)
	return gone.when
}

type usedSignature struct {
	sum  [sha256.Size]byte
	when time.Time
}

// oldestFirst is a heap.
type oldestFirst []usedSignature

func (h oldestFirst) Len() int           { return len(h) }
func (h oldestFirst) Less(i, j int) bool { return h[i].when.Before(h[j].when) }
func (h oldestFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }

// Push is for package heap.
func (h *oldestFirst) Push(v any) {
	if u, ok := v.(usedSignature); ok {
		*h = append(*h, u)
	}
}

// Pop is for package heap.
func (h *oldestFirst) Pop() any {
	last := len(*h) - 1
	u := (*h)[last]
	*h = (*h)[:last]
	return u
}
