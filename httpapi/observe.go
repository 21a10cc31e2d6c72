package httpapi

import (
	"context"
	"net/http"
	gopath "path"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"
)

// Observer is told of requests, by any number of goroutines.
type Observer interface {
	// Begin is told of a request that comes, and may give it another context.
	Begin(r *http.Request) *http.Request
	// End is told of the same request when it was answered.
	End(r *http.Request, answer Answer)
}

// Answer is what became of a request.
type Answer struct {
	Route  string // its pattern; empty where no route is for it, or it was refused before that was looked for
	Status int    // 499 where the client hung up
	Took   time.Duration
	Bytes  int64 // of the body
	Stream bool  // it went on until somebody ended it: an event stream, or a WebSocket
}

// facts are what is known of a request. They are its context, too, and what its answer is written to: all that is one allocation.
type facts struct {
	context.Context

	rec    recorder
	who    *requester // nil until it is known
	ids    [1]string  // the header X-Request-Id
	id     string
	began  time.Time
	route  string      // set when it is known
	goesOn *writerSink // when all handlers have returned; nil: nothing does
}

type factsKey struct{}

// Value returns the facts by their key, as a context does.
func (f *facts) Value(key any) any {
	if key == (factsKey{}) {
		return f
	}
	return f.Context.Value(key)
}

func factsOf(ctx context.Context) *facts {
	f, _ := ctx.Value(factsKey{}).(*facts)
	return f
}

func requestID(r *http.Request) string {
	if f := factsOf(r.Context()); f != nil {
		return f.id
	}
	return ""
}

// routed notes the route that was found.
func routed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f, route := factsOf(r.Context()), chi.RouteContext(r.Context()); f != nil && route != nil {
			defer func() { f.route = strings.TrimSuffix(route.RoutePattern(), "/*") }() // also when it panics
		}
		next.ServeHTTP(w, r)
	})
}

// ended logs a request that was answered, and tells the observer. There is nothing of the query, nor of the headers, in the log:
// they may hold secrets.
func (a *api) ended(r *http.Request, f *facts, rec *recorder) {
	answer := Answer{Route: f.route, Status: rec.status, Took: time.Since(f.began), Bytes: rec.bytes}
	if answer.Status == 0 { // net/http's own
		answer.Status = http.StatusOK
	}
	kind := rec.Header().Get("Content-Type")
	answer.Stream = rec.status == http.StatusSwitchingProtocols || kind == "text/event-stream" || kind == "application/jsonl"
	if a.cfg.Observer != nil {
		a.cfg.Observer.End(r, answer)
	}
	level := zerolog.DebugLevel
	if a.cfg.AccessLog {
		level = zerolog.InfoLevel
	}
	a.cfg.Log.WithLevel(level).Str("method", r.Method).Str("path", loggedPath(r.URL.Path)).Int("status", answer.Status).
		Dur("took_ms", answer.Took).Int64("bytes", answer.Bytes).Str("peer", r.RemoteAddr).Str("request_id", f.id).Msg("request")
}

// loggedPath is a path as it may stand in the log: whoever knows the name of a long-poll transport can use it.
func loggedPath(path string) string {
	if dir, action := gopath.Split(path); strings.HasPrefix(path, "/longpoll/") && dir != "/longpoll/" {
		return "/longpoll/-/" + action
	}
	return path
}

// recorder remembers what was answered.
type recorder struct {
	http.ResponseWriter

	status int
	bytes  int64
}

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController find the real writer.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }
