package httpapi

import (
	"container/list"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// Headers of requests that are to be done once.
const (
	idempotencyKey      = "Idempotency-Key"
	idempotencyReplayed = "Idempotency-Replayed"
)

// maxKey is how long an Idempotency-Key may be.
const maxKey = 255

// share is what of the answers that are kept one principal may hold: it cannot push the others' out.
const share = 4

// digest names a request or tells bodies apart.
type digest [sha256.Size]byte

// answers are those of requests with an Idempotency-Key, for the ones that come again. What has no answer yet is here, too.
type answers struct {
	maxEntries, maxBytes int
	age                  time.Duration

	mu      sync.Mutex
	byID    map[digest]*answered
	oldest  list.List // of *answered that are done, in the order in which they were
	holders map[bridge.Principal]*holder
	bytes   int

	replayed, inFlight, mismatched, evicted atomic.Uint64
}

// holder is a principal with its part of what is kept.
type holder struct {
	oldest  list.List // as answers.oldest
	entries int       // also those without an answer
	bytes   int
}

// answered is a request, and its answer when that is there.
type answered struct {
	id    digest
	of    digest // what was asked
	who   bridge.Principal
	since time.Time // when it was done; zero: it is not
	rep   reply
	size  int

	among, own *list.Element // in the lists of answers and of its holder
}

// answeredSize is what an entry takes beside its answer, in bytes.
const answeredSize = 512

func newAnswers(entries, bytes int, age time.Duration) *answers {
	return &answers{
		maxEntries: entries, maxBytes: bytes, age: age,
		byID: map[digest]*answered{}, holders: map[bridge.Principal]*holder{},
	}
}

// once has do answer the request, and writes that. A request with an Idempotency-Key is done once: it is not given up when its client
// goes, and the answer is kept for the client that asks again. What was not executed is not kept: to ask again is safe.
func (a *api) once(w http.ResponseWriter, r *http.Request, as *wanted, body wampcore.Raw, do func(context.Context) (reply, error)) error {
	keys := r.Header[idempotencyKey]
	if len(keys) == 0 {
		rep, err := do(r.Context())
		if err == nil {
			rep.write(w, r)
		}
		return err
	}
	if len(keys) > 1 || keys[0] == "" || len(keys[0]) > maxKey || !visible(keys[0]) {
		return newProblem(http.StatusBadRequest, "Idempotency-Key is one text of up to 255 visible characters, such as a UUID")
	}
	who := a.principal(r)
	of, rep, err := a.answers.begin(who, name(who, r.URL.Path, keys[0]), fingerprint(r, as, body))
	switch {
	case err != nil:
		return err
	case of == nil:
		rep.header = rep.header.Clone()
		if rep.header == nil {
			rep.header = http.Header{}
		}
		rep.header.Set(idempotencyReplayed, "true")
		rep.write(w, r)
		return nil
	}
	rep, err = a.finish(r, of, do)
	if err == nil {
		rep.write(w, r)
	}
	return err
}

// finish does what begin has let through, and keeps the answer.
func (a *api) finish(r *http.Request, of *answered, do func(context.Context) (reply, error)) (rep reply, err error) {
	done := false
	defer func() { // also of a panic
		if !done {
			a.answers.forget(of)
		}
	}()
	rep, err = do(context.WithoutCancel(r.Context()))
	if err != nil {
		p := a.asked(r, asProblem(err))
		if p.Outcome == notExecuted {
			return rep, err
		}
		p.Retriable = false // who tries again gets this answer
		p.header.Del("Retry-After")
		rep, err = p.reply(r), p
	}
	if rep.nothing {
		return rep, err
	}
	done = true
	a.answers.keep(of, rep)
	if r.Context().Err() != nil {
		return rep, r.Context().Err() // nobody is there to read it, now
	}
	return rep, err
}

// begin looks for an answer. It returns an entry for a request that is new, the answer to one that was done, or a problem.
func (k *answers) begin(who bridge.Principal, id, of digest) (*answered, reply, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(time.Now())
	if e := k.byID[id]; e != nil {
		switch {
		case e.of != of:
			k.mismatched.Add(1)
			return nil, reply{}, newProblem(http.StatusUnprocessableEntity, "this Idempotency-Key was used for another request")
		case e.since.IsZero():
			k.inFlight.Add(1)
			p := newProblem(http.StatusConflict, "the request with this Idempotency-Key is not answered yet")
			p.Retriable, p.Outcome = true, unknown
			p.header = http.Header{"Retry-After": {"1"}}
			return nil, reply{}, p
		}
		k.replayed.Add(1)
		return nil, e.rep, nil
	}
	h := k.holders[who]
	if h == nil {
		h = &holder{}
		k.holders[who] = h
	}
	e := &answered{id: id, of: of, who: who, size: answeredSize}
	k.byID[id] = e
	k.add(h, e.size)
	h.entries++
	if !k.makeRoom(h) {
		k.drop(e)
		p := newProblem(http.StatusServiceUnavailable, "too many requests with an Idempotency-Key are open")
		p.Retriable = true
		p.header = http.Header{"Retry-After": {"1"}}
		return nil, reply{}, p
	}
	return e, reply{}, nil
}

// makeRoom drops the oldest answers until all bounds are kept, false if they cannot be. mu is held.
func (k *answers) makeRoom(h *holder) bool {
	for h.entries > k.maxEntries/share || h.bytes > k.maxBytes/share {
		if !k.evict(&h.oldest) {
			return false
		}
	}
	for len(k.byID) > k.maxEntries || k.bytes > k.maxBytes {
		if !k.evict(&k.oldest) {
			return false
		}
	}
	return true
}

func (k *answers) evict(from *list.List) bool {
	first := from.Front()
	if first == nil {
		return false
	}
	e, _ := first.Value.(*answered)
	k.drop(e)
	k.evicted.Add(1)
	return true
}

// expire drops what is too old. mu is held.
func (k *answers) expire(now time.Time) {
	for first := k.oldest.Front(); first != nil; first = k.oldest.Front() {
		e, _ := first.Value.(*answered)
		if now.Sub(e.since) < k.age {
			return
		}
		k.drop(e)
	}
}

// drop forgets an entry, wherever it stands. mu is held.
func (k *answers) drop(e *answered) {
	if k.byID[e.id] != e {
		return
	}
	delete(k.byID, e.id)
	h := k.holders[e.who]
	k.add(h, -e.size)
	if e.among != nil {
		k.oldest.Remove(e.among)
		h.oldest.Remove(e.own)
	}
	if h.entries--; h.entries == 0 {
		delete(k.holders, e.who)
	}
}

func (k *answers) add(h *holder, n int) {
	k.bytes += n
	h.bytes += n
}

func (k *answers) forget(e *answered) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.drop(e)
}

// keep stores an answer. One that is too large is not, but that it was given is.
func (k *answers) keep(e *answered, rep reply) {
	if answeredSize+len(rep.body) > k.maxBytes/share/share {
		p := newProblem(http.StatusConflict, "the request with this Idempotency-Key was answered, but the answer was too large to be kept")
		p.Outcome = executed
		rep = reply{status: p.Status, kind: problemType, body: p.encode("")}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.holders[e.who]
	k.add(h, len(rep.body))
	e.size += len(rep.body)
	e.rep, e.since = rep, time.Now()
	e.among, e.own = k.oldest.PushBack(e), h.oldest.PushBack(e)
	k.makeRoom(h)
}

func (k *answers) stats() IdempotencyStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.expire(time.Now())
	return IdempotencyStats{
		Replayed: k.replayed.Load(), InFlight: k.inFlight.Load(), Mismatched: k.mismatched.Load(), Evicted: k.evicted.Load(),
		Entries: len(k.byID), Bytes: k.bytes,
	}
}

// name is what a request with a key is known by. None of the parts may be taken for two.
func name(p bridge.Principal, path, key string) digest {
	return hashed([]byte(p.Realm), []byte(p.AuthID), []byte(p.AuthRole), []byte(p.Method), []byte(p.Provider), []byte(path), []byte(key))
}

// fingerprint tells requests with the same key apart: by the body, and by what the answer would be written by.
func fingerprint(r *http.Request, as *wanted, body wampcore.Raw) digest {
	return hashed([]byte(r.URL.RawQuery), []byte{byte(as.body), byte(as.answer.format)}, body.Bytes)
}

func hashed(parts ...[]byte) (d digest) {
	h := sha256.New()
	for _, part := range parts {
		_, _ = h.Write(binary.AppendUvarint(nil, uint64(len(part))))
		_, _ = h.Write(part)
	}
	h.Sum(d[:0])
	return d
}
