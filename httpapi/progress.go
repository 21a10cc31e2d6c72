package httpapi

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// finPrefix begins the id of the last event of a call. It says all that there is to know: a client that reconnects with such an id
// has had its answer, and is told to stop instead of calling again.
const finPrefix = "fin."

// finished reports whether a request only comes since an event stream has ended, as it had to.
func finished(r *http.Request, answer format) bool {
	return answer == eventStream && strings.HasPrefix(r.Header.Get("Last-Event-ID"), finPrefix)
}

// whole is a call that is not in parts.
func whole(p wampcore.Payload) func(context.Context) iter.Seq[client.Part] {
	return func(context.Context) iter.Seq[client.Part] {
		return func(yield func(client.Part) bool) { yield(client.Part{Payload: p, Final: true}) }
	}
}

// partial is a result, progressive or final, or an error.
type partial struct {
	client.Part

	err error
}

// progress answers with results as they come, until it has the last one or cancels the call. An answer that fails before anything
// of it was written is a problem like any other.
func (a *api) progress(
	w http.ResponseWriter, r *http.Request, as wanted, results iter.Seq2[client.Part, error], cancel context.CancelFunc,
) error {
	var taking sync.WaitGroup
	defer taking.Wait()
	defer cancel()
	parts, enough := make(chan partial), make(chan struct{}) // what waits is bounded where it comes in
	defer close(enough)
	taking.Go(func() {
		for part, err := range results {
			select {
			case parts <- partial{part, err}:
			case <-enough:
				return
			}
		}
	})
	beat := time.NewTicker(a.cfg.Heartbeat)
	defer beat.Stop()
	s := resultStream{a: a, w: w, r: r, as: as}
	for !s.over() { // a client that hangs up ends the results
		select {
		case part := <-parts:
			part.err = parted(r, part.err)
			if part.err != nil && s.stream == nil {
				return unanswered(part.err)
			}
			s.write(part)
		case <-beat.C:
			s.begin().beat()
		}
	}
	return nil
}

// unanswered is the error of a call of which nothing was said yet. What the gateway has ended may have been executed.
func unanswered(err error) error {
	if why, ok := errors.AsType[farewell](err); ok {
		return brokenPart(why)
	}
	return err
}

// results writes the results of a call as a stream.
type resultStream struct {
	a      *api
	w      http.ResponseWriter
	r      *http.Request
	as     wanted
	stream *streamWriter // nil until something is written
	last   bool          // the last one was written
}

func (s *resultStream) over() bool { return s.last || s.stream != nil && s.stream.err != nil }

func (s *resultStream) begin() *streamWriter {
	if s.stream == nil {
		s.stream = s.a.stream(s.w, s.as.answer.format)
	}
	return s.stream
}

func (s *resultStream) write(part partial) {
	id, name := "", "progress"
	if part.Final || part.err != nil {
		s.last = true
		id, name = fmt.Sprintf(finPrefix+"%014x", uint64(wampcore.NewID())), "result"
	}
	var data []byte
	why, parting := errors.AsType[farewell](part.err)
	switch {
	case parting: // with an id, too: to come back would be to call again
		name, data = "wamp.bye", why.data()
	case part.err != nil:
		name, data = "error", s.a.asked(s.r, asProblem(part.err)).encode(requestID(s.r))
	case s.as.value:
		data = bridge.FirstArg(part.Payload)
	default:
		data = bridge.EncodeResult(part.Payload)
	}
	s.begin().event(id, name, data)
}
