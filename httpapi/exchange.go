package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// exchange makes a call whose body is lines of JSON: each is a part of it, sent on as it comes, while results may come already.
func (a *api) exchange(w http.ResponseWriter, r *http.Request, procedure wampcore.URI, as wanted) error {
	if len(r.Header[idempotencyKey]) > 0 {
		return errKeyOfStream()
	}
	body := &openBody{Reader: r.Body, rc: http.NewResponseController(w), http1: r.ProtoMajor == 1}
	lines, err := a.lines(body, r, as.as)
	if err == nil {
		err = a.exchangeLines(&openWriter{w, body}, r, procedure, as, lines)
	}
	if err != nil {
		body.tell(w.Header())
	}
	return err
}

func (a *api) exchangeLines(w http.ResponseWriter, r *http.Request, procedure wampcore.URI, as wanted, lines *partReader) error {
	first, err := lines.first(a.cfg.BodyTimeout)
	if err != nil {
		return err
	}
	timeout, err := a.timeout(r, first.Options.Timeout)
	if err != nil {
		return err
	}
	opts := first.Options
	opts.Timeout = 0 // the deadline's
	opts.Custom = traced(r, opts.Custom)
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	ctx, lines.fail = context.WithCancelCause(ctx)
	defer lines.fail(nil)
	results := a.cfg.Bridge.Exchange(ctx, a.principal(r), procedure, lines.parts, opts)
	if as.answer.format == eventStream || as.answer.format == jsonLines {
		return a.progress(w, r, as, results, func() { lines.fail(context.Canceled) })
	}
	for part, err := range results {
		if err != nil {
			return unanswered(parted(r, err))
		}
		if part.Final {
			as.result(part.Payload).write(w, r)
		}
	}
	return nil
}

func errKeyOfStream() error {
	return newProblem(http.StatusBadRequest, "Idempotency-Key is for requests and answers that are whole, not for those in parts")
}

// openBody is a body that is read while the answer may have begun.
type openBody struct {
	io.Reader

	rc    *http.ResponseController
	http1 bool

	mu    sync.Mutex
	ended bool // all of it was read
	cut   bool // reading was interrupted
}

func (b *openBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if errors.Is(err, io.EOF) {
		b.mu.Lock()
		b.ended = true
		b.mu.Unlock()
	}
	return n, err
}

// interrupt makes Read return. A body that has ended is left alone: net/http waits for another request then, and would take that for
// the client's end.
func (b *openBody) interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.ended {
		b.cut = true
		_ = b.rc.SetReadDeadline(time.Now())
	}
}

// tell is called before the answer's headers are written: what may be left of the body is not looked for the next request in.
func (b *openBody) tell(h http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.http1 && (b.cut || !b.ended) {
		h.Set("Connection", "close")
	}
}

// openWriter writes the answer to a request whose body may still be open.
type openWriter struct {
	http.ResponseWriter

	body *openBody
}

func (w *openWriter) WriteHeader(status int) {
	w.body.tell(w.Header())
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController find the real writer.
func (w *openWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// partReader reads a body of lines. It is used by one goroutine at a time.
type partReader struct {
	open *openBody
	in   *bufio.Reader
	body inflater
	most int64 // bytes of a line
	as   bridge.As
	fail context.CancelCauseFunc // ends the call

	begun client.Part
}

// lineBuffer is how much of a body is read at once.
const lineBuffer = 4 << 10

func (a *api) lines(open *openBody, r *http.Request, as bridge.As) (*partReader, error) {
	_ = open.rc.EnableFullDuplex() // what cannot waits for the end of the body before it answers
	_ = open.rc.SetReadDeadline(time.Now().Add(a.cfg.BodyTimeout))
	body, err := a.inflated(open, r)
	if err != nil {
		return nil, err
	}
	most := a.maxBody(r)
	in := bufio.NewReaderSize(body, int(min(most, lineBuffer)))
	return &partReader{open: open, in: in, body: body, most: most, as: as}, nil
}

// first reads the first part, which has the options of the call. Without any, the call has no arguments.
func (p *partReader) first(timeout time.Duration) (bridge.CallRequest, error) {
	_ = p.open.rc.SetReadDeadline(time.Now().Add(timeout))
	line, err := p.line()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return bridge.CallRequest{}, errLateBody()
	}
	_ = p.open.rc.SetReadDeadline(time.Time{}) // from now on the call's deadline counts
	if errors.Is(err, io.EOF) {
		p.begun.Final = true
		return bridge.CallRequest{}, nil
	}
	if err != nil {
		return bridge.CallRequest{}, err
	}
	req, final, err := bridge.ParsePart(line, p.as, true)
	p.begun = client.Part{Payload: req.Payload, Final: final}
	return req, err
}

// parts yields the parts until one is final, the body ends, or ctx does. A part that is none ends the call.
func (p *partReader) parts(ctx context.Context) iter.Seq[client.Part] {
	return func(yield func(client.Part) bool) {
		defer p.interruptedBy(ctx)()
		for part := p.begun; yield(part) && !part.Final; {
			line, err := p.line()
			if errors.Is(err, io.EOF) {
				return
			}
			if err == nil {
				part.Payload, part.Final, err = p.next(line)
			}
			if err != nil {
				p.fail(brokenPart(err))
				<-ctx.Done() // so that what was sent does not look whole
				return
			}
		}
	}
}

// interruptedBy ends reading when ctx does: nobody wants the rest then. What it returns has to be called before the connection is for
// another request.
func (p *partReader) interruptedBy(ctx context.Context) func() {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		p.open.interrupt()
		close(done)
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

func (p *partReader) next(line wampcore.Raw) (wampcore.Payload, bool, error) {
	req, final, err := bridge.ParsePart(line, p.as, false)
	return req.Payload, final, err
}

// brokenPart is the problem of a call that was begun, and then goes wrong.
func brokenPart(err error) error {
	p := asProblem(err)
	p.Outcome = unknown
	return p
}

// line returns the next line that is not empty.
func (p *partReader) line() (wampcore.Raw, error) {
	for {
		b, err := p.rawLine()
		if b = bytes.Trim(b, " \t\r\n"); len(b) > 0 && (err == nil || errors.Is(err, io.EOF)) {
			return wampcore.Raw{Encoding: wampcore.JSON, Bytes: b}, nil
		}
		if err != nil {
			return wampcore.Raw{}, err
		}
	}
}

func (p *partReader) rawLine() ([]byte, error) {
	var line []byte
	for {
		b, err := p.in.ReadSlice('\n')
		line = append(line, b...)
		switch {
		case int64(len(line)) > p.most:
			return nil, &http.MaxBytesError{Limit: p.most}
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return line, io.EOF
		default:
			return line, p.body.failed(err)
		}
	}
}
