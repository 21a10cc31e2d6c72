package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// around does what all requests have in common: an id, the host check, the log, and a panic that costs one request only.
func (a *api) around(next http.Handler) http.Handler {
	answer := a.answering(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var k *writerSink
		if staysWith(r) {
			k = apart(w, r, answer)
		} else if k = answer(w, r); k != nil {
			context.AfterFunc(r.Context(), k.hungUp)
		}
		if k != nil {
			<-k.over
		}
	})
}

// answering is what answers a request. It returns what of the answer goes on: the handler has to stay until that is over.
type answering func(w http.ResponseWriter, r *http.Request) *writerSink

func (a *api) answering(next http.Handler) answering {
	return func(w http.ResponseWriter, r *http.Request) (goesOn *writerSink) {
		facts := &facts{Context: r.Context(), rec: recorder{ResponseWriter: w}, id: r.Header.Get("X-Request-Id"), began: time.Now()}
		if !sane(facts.id) {
			facts.id = newRequestID()
		}
		facts.ids[0] = facts.id
		h := w.Header()
		h["X-Request-Id"] = facts.ids[:]
		h["Referrer-Policy"] = noReferrer // addresses may have tickets
		h["X-Content-Type-Options"] = noSniff
		r = r.WithContext(facts) //nolint:contextcheck // they go on with the request's own
		r.RemoteAddr = a.proxies.client(r)
		if a.cfg.Observer != nil {
			r = a.cfg.Observer.Begin(r)
		}
		rec := &facts.rec
		a.boundUnread(rec, r)
		defer func() { goesOn = facts.settle(recover()) }()
		defer a.ended(r, facts, rec)
		defer a.rescue(r, facts)
		if !a.hostAllowed(r.Host) {
			a.refused[refusedHost].Add(1)
			newProblem(http.StatusMisdirectedRequest, foreignHost(r.Host)).write(rec, r)
			return nil
		}
		if p := tooLarge(r); p != nil {
			a.refused[refusedHeaders].Add(1)
			p.write(rec, r)
			return nil
		}
		next.ServeHTTP(rec, r)
		return nil // but what the facts say goes on
	}
}

// rescue has a panic cost one request only. It is deferred.
func (a *api) rescue(r *http.Request, f *facts) {
	if v := recover(); v != nil {
		if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
			panic(v) // net/http's own way to cut an answer
		}
		a.cfg.Log.Error().Interface("panic", v).Bytes("stack", debug.Stack()).Str("request_id", f.id).Msg("request panicked")
		if f.rec.status == 0 {
			newProblem(http.StatusInternalServerError, "internal error").write(&f.rec, r)
		}
	}
	if f.goesOn == nil { // else net/http waits for the reader to go
		a.boundUnread(&f.rec, r)
	}
}

// settle returns what goes on. After a panic nothing does: nobody would wait for it.
func (f *facts) settle(panicked any) *writerSink {
	if panicked == nil {
		return f.goesOn
	}
	if f.goesOn != nil {
		f.goesOn.hungUp()
		<-f.goesOn.over
	}
	panic(panicked)
}

// staysWith reports whether net/http's goroutine will have to stay with a request's stream.
func staysWith(r *http.Request) bool {
	return (r.ProtoMajor > 1 || r.TLS != nil) && r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/subscribe")
}

// apart has a request answered on another goroutine, and panics as that does. It returns what net/http's goroutine has to stay with: what that
// uses of its stack is not given back meanwhile. The smallest is enough for what is done here and by whoever waits for one channel.
func apart(w http.ResponseWriter, r *http.Request, answer answering) *writerSink {
	p := &part{answered: make(chan any, 1)}
	go p.serve(w, r, answer)
	if panicked := <-p.answered; panicked != nil {
		panic(panicked)
	}
	return p.goesOn
}

// part is what two goroutines know of a request.
type part struct {
	answered chan any // what it panicked with, or nil
	goesOn   *writerSink
}

func (p *part) serve(w http.ResponseWriter, r *http.Request, answer answering) {
	defer func() { p.answered <- recover() }()
	if p.goesOn = answer(w, r); p.goesOn != nil {
		context.AfterFunc(r.Context(), p.goesOn.hungUp)
	}
}

func newRequestID() string {
	const digits = "0123456789abcdef"
	var b [14]byte
	id := uint64(wampcore.NewID())
	for i := range b {
		b[i] = digits[id>>(4*(len(b)-1-i))&15]
	}
	return string(b[:])
}

// boundUnread bounds the time for a body that nobody reads, or its rest: net/http waits for that before it writes an answer,
// and again before it looks for another request. Who reads a body sets its own time.
func (a *api) boundUnread(w *recorder, r *http.Request) {
	switch w.status {
	case http.StatusSwitchingProtocols: // the connection is another's
	case http.StatusRequestTimeout: // the time is over
	default:
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.cfg.UnreadTimeout))
		}
	}
}

// What a request may have before its body. net/http cuts what is far beyond.
const (
	maxRequestURI  = 8 << 10
	maxHeaderBytes = 32 << 10
)

func tooLarge(r *http.Request) *problem {
	if len(r.RequestURI) > maxRequestURI {
		return newProblem(http.StatusRequestURITooLong, fmt.Sprintf("the path and query are longer than %d bytes", maxRequestURI))
	}
	size := 0
	for name, values := range r.Header {
		for _, v := range values {
			size += len(name) + len(v)
		}
	}
	if size > maxHeaderBytes {
		return newProblem(http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("the headers are larger than %d bytes", maxHeaderBytes))
	}
	return nil
}

// sane reports whether a client's request id may stand in logs.
func sane(id string) bool {
	return id != "" && len(id) <= 128 && !strings.ContainsFunc(id, func(c rune) bool { return c <= ' ' || c > '~' })
}

func foreignHost(host string) string {
	if host == "" { // as the checks of load balancers over HTTP/1.0
		return "the request is for no host; send the header Host"
	}
	return "the host " + host + " is not one that this gateway answers for; name it in WAMPGATE_HOSTS"
}

// hostAllowed keeps pages away that had their own name resolve to this machine.
func (a *api) hostAllowed(host string) bool {
	name := host
	if strings.LastIndexByte(host, ':') > strings.LastIndexByte(host, ']') {
		if h, _, err := net.SplitHostPort(host); err == nil {
			name = h
		}
	}
	name = strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), "."))
	if name == "localhost" {
		return true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return true
	}
	return slices.ContainsFunc(a.cfg.Hosts, func(pattern string) bool {
		pattern = strings.ToLower(pattern)
		suffix, sub := strings.CutPrefix(pattern, "*")
		return pattern == name || sub && len(name) > len(suffix) && strings.HasSuffix(name, suffix)
	})
}
