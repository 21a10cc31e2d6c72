package bridge

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wampgate/wampgate/wampcore"
)

// answerReader reads what a service answers to a call.
type answerReader struct {
	as       As
	max      int                          // bytes of a body, or of a part of a stream
	alive    func()                       // something came of a stream
	progress func(wampcore.Payload) error // sends a part of the result on
}

// maxProblem bounds the bodies of errors.
const maxProblem = 64 << 10

// read returns the result, or a fault. Any other error is the connection's.
func (a *answerReader) read(res *http.Response) (wampcore.Payload, error) {
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode/100 != 2 {
		return wampcore.Payload{}, readRefusal(res, kind)
	}
	if res.StatusCode == http.StatusNoContent {
		return wampcore.Payload{}, nil
	}
	framed := res.ProtoMajor > 1 || res.ContentLength >= 0 || len(res.TransferEncoding) > 0
	switch kind {
	case "text/event-stream":
		return a.stream(framed, a.events(res.Body))
	case "application/jsonl", "application/x-ndjson", "application/ndjson":
		return a.stream(framed, a.lines(res.Body))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, int64(a.max)+1))
	switch {
	case err != nil:
		return wampcore.Payload{}, err
	case len(body) > a.max:
		return wampcore.Payload{}, badAnswer("is larger than %d bytes", a.max)
	case !framed && !isWhole(body):
		return wampcore.Payload{}, errCutShort
	case len(bytes.TrimSpace(body)) == 0:
		return wampcore.Payload{}, nil
	case kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		return wampcore.Payload{}, badAnswer("is neither JSON nor a stream of it: Content-Type %q", headerText(kind))
	}
	return a.payload(body)
}

// isWhole reports whether a body is a value, and not the beginning of one.
func isWhole(body []byte) bool {
	v, err := checked(wampcore.Raw{Encoding: wampcore.JSON, Bytes: body})
	return err == nil && len(v.Bytes) > 0
}

func badAnswer(format string, args ...any) *fault {
	return newFault(wampcore.ErrRuntime, "the service's answer "+format, args...)
}

// payload returns the result that a body, or a part of a stream, is.
func (a *answerReader) payload(body []byte) (wampcore.Payload, error) {
	env, err := parse(wampcore.Raw{Encoding: wampcore.JSON, Bytes: body}, a.as, "")
	if err == nil && len(env.options.Bytes) > 0 {
		err = errors.New("it has options")
	}
	if err != nil {
		return wampcore.Payload{}, badAnswer(`is not {"args":[…],"kwargs":{…}}, which a hook's "result" can change: %s`, err)
	}
	return env.payload, nil
}

// readRefusal returns the fault that an answer without a result is.
func readRefusal(res *http.Response, kind string) error {
	f := statusFault(res.StatusCode)
	f.after = retryAfter(res.Header, time.Now())
	if kind != "application/problem+json" && kind != "application/json" {
		return f
	}
	body, _ := io.ReadAll(io.LimitReader(res.Body, maxProblem+1)) // what is cut short is no problem
	if len(body) > maxProblem {
		return f
	}
	if e, ok := parseProblem(body); ok {
		if e.URI == "" {
			e.URI = f.err.URI
		} else {
			f.broken = false // it knows what it says
		}
		f.err = e
	}
	return f
}

// statusFault is the table of what statuses mean.
func statusFault(status int) *fault {
	uri := wampcore.ErrRuntime
	switch {
	case status == http.StatusNotFound, status == http.StatusMethodNotAllowed:
		uri = wampcore.ErrNoSuchProcedure
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		uri = wampcore.ErrNotAuthorized
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable:
		uri = wampcore.ErrUnavailable
	case status/100 == 4:
		uri = wampcore.ErrInvalidArgument
	}
	f := newFault(uri, "the service answered %d %s", status, http.StatusText(status))
	if status/100 == 3 {
		f = newFault(uri, "the service answered %d, and redirects are not followed", status)
	}
	f.status = status
	switch status {
	case http.StatusTooManyRequests:
		f.again = true
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		f.again, f.broken = true, true
	}
	return f
}

// maxDetail bounds what is told to callers of a problem that has no arguments.
const maxDetail = 1 << 10

// parseProblem returns the error that a problem is, without a URI if it names none; false if the body is no problem.
func parseProblem(body []byte) (*wampcore.Error, bool) {
	e := &wampcore.Error{}
	if !isWhole(body) {
		return e, false
	}
	var problem struct {
		Title  string `json:"title"`
		Detail string `json:"detail"`
		WAMP   struct {
			Error  wampcore.URI    `json:"error"`
			Args   json.RawMessage `json:"args"`
			Kwargs json.RawMessage `json:"kwargs"`
		} `json:"wamp"`
	}
	if json.Unmarshal(body, &problem) != nil {
		return e, false
	}
	e.Message = cmp.Or(problem.Detail, problem.Title)
	if len(e.Message) > maxDetail {
		e.Message = strings.ToValidUTF8(e.Message[:maxDetail], "")
	}
	if !problem.WAMP.Error.Valid(false) || !utf8.ValidString(string(problem.WAMP.Error)) {
		return e, e.Message != ""
	}
	args, err := list("args", wampcore.Raw{Encoding: wampcore.JSON, Bytes: problem.WAMP.Args})
	kwargs, err2 := dict("kwargs", wampcore.Raw{Encoding: wampcore.JSON, Bytes: problem.WAMP.Kwargs})
	if errors.Join(err, err2) != nil {
		return e, false
	}
	e.URI = problem.WAMP.Error
	e.Payload = wampcore.Payload{Encoding: wampcore.JSON, Args: args, Kwargs: kwargs}
	return e, true
}

// part is a piece of a streamed answer.
type streamPart struct {
	name string // progress, result or error
	data []byte
}

// known reports whether it is one of an answer's parts. Services may send other events, to say that they are alive.
func (p streamPart) known() bool {
	return p.name == "message" || p.name == "progress" || p.name == "result" || p.name == "error"
}

// errCutShort is an answer whose end cannot be told from a connection that was lost.
var errCutShort = errors.New("the answer has no length, and ended before it was whole")

// stream sends parts on until the result, an error or the end, which is a result without arguments. An answer that has no
// framing may have been cut: it needs its result.
func (a *answerReader) stream(framed bool, next func() (streamPart, error)) (wampcore.Payload, error) {
	for {
		part, err := next()
		switch {
		case errors.Is(err, io.EOF) && !framed:
			return wampcore.Payload{}, errCutShort
		case errors.Is(err, io.EOF):
			return wampcore.Payload{}, nil
		case err != nil:
			return wampcore.Payload{}, err
		case part.name == "error":
			e, ok := parseProblem(part.data)
			if !ok || e.URI == "" {
				return wampcore.Payload{}, badAnswer("ended with an error that has no \"wamp\":{\"error\":…}")
			}
			return wampcore.Payload{}, &fault{err: e, why: string(e.URI), status: http.StatusOK}
		}
		p, err := a.payload(part.data)
		if err != nil || part.name == "result" {
			return p, err
		}
		if err := a.progress(p); err != nil {
			return wampcore.Payload{}, err
		}
	}
}

// reader returns a function that reads lines, without their ends.
func (a *answerReader) reader(body io.Reader) func() ([]byte, error) {
	r := bufio.NewScanner(body)
	r.Buffer(nil, a.max+2)
	return func() ([]byte, error) {
		if !r.Scan() {
			switch err := r.Err(); {
			case errors.Is(err, bufio.ErrTooLong):
				return nil, badAnswer("has a line that is longer than %d bytes", a.max)
			case err != nil:
				return nil, err
			}
			return nil, io.EOF
		}
		a.alive()
		return r.Bytes(), nil
	}
}

// lines reads JSON, a line each: {"progress":…}, {"result":…}, {"error":…}, or a part of the result.
func (a *answerReader) lines(body io.Reader) func() (streamPart, error) {
	line := a.reader(body)
	return func() (streamPart, error) {
		for {
			b, err := line()
			if b = bytes.TrimSpace(b); err != nil || len(b) == 0 {
				if err != nil {
					return streamPart{}, err
				}
				continue
			}
			v, err := checked(wampcore.Raw{Encoding: wampcore.JSON, Bytes: bytes.Clone(b)})
			if err != nil {
				return streamPart{}, badAnswer("has a line that is no JSON: %s", err)
			}
			return linePart(v), nil
		}
	}
}

// linePart returns what a line is: a part of the result, unless its only member says what else.
func linePart(v wampcore.Raw) streamPart {
	c, ok := v.Dict()
	if !ok {
		return streamPart{"progress", v.Bytes}
	}
	key, some := c.Next()
	name, _ := key.Text()
	inner, _ := c.Next()
	if _, more := c.Next(); some && !more && (string(name) == "progress" || string(name) == "result" || string(name) == "error") {
		return streamPart{string(name), inner.Bytes}
	}
	return streamPart{"progress", v.Bytes}
}

// events reads an event stream. An event that its end cuts is none.
func (a *answerReader) events(body io.Reader) func() (streamPart, error) {
	line := a.reader(body)
	first := true
	return func() (streamPart, error) {
		part := streamPart{name: "message"}
		for {
			b, err := line()
			if err != nil {
				return streamPart{}, err
			}
			if first {
				first, b = false, bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
			}
			if len(b) > 0 {
				if part.add(b); len(part.data) > a.max {
					return streamPart{}, badAnswer("has an event that is larger than %d bytes", a.max)
				}
				continue
			}
			if part.data = bytes.TrimSuffix(part.data, []byte("\n")); len(part.data) > 0 && part.known() {
				return part, nil
			}
			part = streamPart{name: "message"}
		}
	}
}

// add adds a line of an event stream to the event.
func (p *streamPart) add(line []byte) {
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "event":
		p.name = cmp.Or(string(value), "message")
	case "data":
		p.data = append(append(p.data, value...), '\n')
	}
}
