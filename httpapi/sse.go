package httpapi

import (
	"bytes"
	"net/http"
	"strings"
	"time"
)

// contentTypes are the formats' media types, as answers name them.
var contentTypes = [...]string{eventStream: "text/event-stream", jsonLines: "application/jsonl"} //nolint:gochecknoglobals // a constant table

const noStream = noFormat

// streamFormat returns the format of a stream that the Accept header likes best, the first if there are several, noStream if it names none.
func streamFormat(r *http.Request) format {
	best, most := noStream, 0
	for _, m := range acceptRanges(r.Header["Accept"]) {
		for i := range mediaTypes {
			t := &mediaTypes[i]
			if (t.format == eventStream || t.format == jsonLines) && m.q > most && strings.EqualFold(m.name, t.name) {
				best, most = t.format, m.q
			}
		}
	}
	return best
}

// appendFrame appends what a reader gets as one: an event with an id and a name, either of which may be empty, and data that is
// one JSON value. In lines of JSON the name is the member that holds the data: "event" if it is empty, and without "wamp.".
func (f format) appendFrame(b []byte, id, name string, data []byte) []byte {
	if f == jsonLines {
		b = append(b, '{')
		if id != "" {
			b = append(append(append(b, `"id":"`...), id...), `",`...)
		}
		if name = strings.TrimPrefix(name, "wamp."); name == "" {
			name = "event"
		}
		b = append(append(append(b, '"'), name...), `":`...)
		return append(appendLine(b, data), "}\n"...)
	}
	if id != "" {
		b = append(append(append(b, "id: "...), id...), '\n')
	}
	if name != "" {
		b = append(append(append(b, "event: "...), name...), '\n')
	}
	return append(appendLine(append(b, "data: "...), data), "\n\n"...)
}

// appendLine appends a JSON value on one line: between its tokens a line's end is as good as a space.
func appendLine(b, data []byte) []byte {
	start := len(b)
	b = append(b, data...)
	if bytes.ContainsAny(data, "\r\n") {
		for i := start; i < len(b); i++ {
			if b[i] == '\r' || b[i] == '\n' {
				b[i] = ' '
			}
		}
	}
	return b
}

// appendBeat appends what says that the stream is alive: in server-sent events a comment. An id moves the reader's cursor.
func (f format) appendBeat(b []byte, id string) []byte {
	switch {
	case f == jsonLines:
		return f.appendFrame(b, id, "heartbeat", []byte("{}"))
	case id == "":
		return append(b, ": \n\n"...)
	default:
		return append(append(append(b, ": \nid: "...), id...), "\n\n"...)
	}
}

// streamHeaders sets what all answers that go on have.
func streamHeaders(h http.Header, f format) {
	h.Set("Content-Type", contentTypes[f])
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx would wait for more
	h.Add("Vary", "Accept")
}

// streamWriter writes an answer that goes on, for one goroutine. Each method writes what it says at once. The first error
// stays: the reader is gone, or was too slow.
type streamWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	format  format
	timeout time.Duration
	buf     []byte
	err     error
}

// stream begins an answer that goes on.
func (a *api) stream(w http.ResponseWriter, f format) *streamWriter {
	s := &streamWriter{w: w, rc: http.NewResponseController(w), format: f, timeout: a.cfg.WriteTimeout}
	streamHeaders(w.Header(), f)
	w.WriteHeader(http.StatusOK)
	s.write(nil)
	return s
}

// event writes an event. Its id and its name may be empty; data is one JSON value.
func (s *streamWriter) event(id, name string, data []byte) {
	s.buf = s.format.appendFrame(s.buf[:0], id, name, data)
	s.write(s.buf)
}

// beat says that the stream is alive.
func (s *streamWriter) beat() {
	s.buf = s.format.appendBeat(s.buf[:0], "")
	s.write(s.buf)
}

// fail writes an error as a stream has it: the answer has begun, so it has a status already.
func (s *streamWriter) fail(r *http.Request, err error) {
	s.event("", "error", asProblem(err).encode(requestID(r)))
}

func (s *streamWriter) write(b []byte) {
	if s.err != nil {
		return
	}
	_ = s.rc.SetWriteDeadline(time.Now().Add(s.timeout))
	if len(b) > 0 {
		_, s.err = s.w.Write(b)
	}
	if s.err == nil {
		s.err = s.rc.Flush()
	}
	if s.err == nil { // HTTP/2 would end the stream when it passes, HTTP/1.1 fail the next answer on the connection
		_ = s.rc.SetWriteDeadline(time.Time{})
	}
}
