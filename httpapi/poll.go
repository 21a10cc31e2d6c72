package httpapi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// How long a poll waits for events.
const (
	defaultPoll = 20 * time.Second
	maxPoll     = 60 * time.Second
)

// pollTime returns whether the client wants one answer instead of a stream, and for how long it waits.
func pollTime(r *http.Request) (wait time.Duration, polling bool, err error) {
	text := r.URL.Query().Get("wait")
	if streamFormat(r) != noStream || text == "" && accepts(r, contentTypes[eventStream]) {
		return 0, false, nil
	}
	if !accepts(r, "application/json") {
		return 0, false, nil
	}
	if text == "" {
		return defaultPoll, true, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 16)
	if err != nil || time.Duration(seconds)*time.Second > maxPoll {
		return 0, false, newProblem(http.StatusBadRequest, "wait is a number of seconds from 0 to 60")
	}
	return time.Duration(seconds) * time.Second, true, nil
}

// poll answers with the events that came behind the cursor, or else with the first that come in time, and where to go on.
func (a *api) poll(w http.ResponseWriter, r *http.Request, req *bridge.StreamRequest, wait time.Duration) error {
	k := &pollSink{wait: wait, patient: req.Retained}
	begun, over := make(chan struct{}), make(chan error, 1)
	req.Slow, req.Frames = bridge.SlowDisconnect, k
	req.Ready = func(s *bridge.Stream) (bridge.Sink, error) {
		k.stream = s
		close(begun)
		return k, nil
	}
	a.cfg.Bridge.Stream(r.Context(), a.principal(r), req, func(err error) { over <- err })
	select {
	case <-begun:
		defer context.AfterFunc(r.Context(), func() { k.stream.End(givenUp(r)) })()
		if err := <-over; err != nil {
			return err
		}
	case err := <-over:
		if err != nil {
			return err
		}
	}
	body, err := k.answer()
	if err != nil {
		return err
	}
	if k.cursor != "" {
		w.Header().Set(cursorHeader, k.cursor)
	}
	reply{status: http.StatusOK, kind: formatJSON.header(), body: body, choice: true}.write(w, r)
	return nil
}

// givenUp is why a poll ends before its time.
func givenUp(r *http.Request) error {
	if why := farewellOf(r); why != "" {
		return fmt.Errorf("%w: %w", bridge.ErrExpired, why)
	}
	return fmt.Errorf("%w: %w", bridge.ErrHungUp, context.Canceled)
}

// pollSink collects events until there are some. It is its own frames: what is to be known of each of them stands before its data.
type pollSink struct {
	stream  *bridge.Stream
	wait    time.Duration
	patient bool // a gap alone is no answer: what is retained follows

	mu     sync.Mutex
	timer  *time.Timer
	cursor string
	gap    []byte
	events [][]byte
	failed error
}

func (k *pollSink) answer() ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
	if k.failed != nil && len(k.events) == 0 {
		return nil, k.failed
	}
	body := append([]byte(`{"events":[`), bytes.Join(k.events, []byte{','})...)
	body = append(body, ']')
	if k.cursor != "" {
		body = append(append(append(body, `,"cursor":"`...), k.cursor...), '"')
	}
	if k.gap != nil {
		body = append(append(body, `,"gap":`...), k.gap...)
	}
	return append(body, '}'), nil
}

// Event returns an event.
func (k *pollSink) Event(topic wampcore.URI, e *wampcore.Event) []byte {
	return k.Past(topic, e, !topic.Reserved())
}

// Past returns an event, with its cursor if it has one.
func (k *pollSink) Past(topic wampcore.URI, e *wampcore.Event, cursor bool) []byte {
	b := []byte{'e'}
	switch {
	case e.Details.Retained:
		b[0] = 'r'
	case cursor:
		b = bridge.AppendCursor(b, e.Publication)
	}
	return bridge.AppendEvent(append(b, ' '), topic, e)
}

// Notice returns the stream's own words.
func (k *pollSink) Notice(name, cursor string, data []byte) []byte {
	kind := "n"
	if name == "wamp.gap" {
		kind = "g"
	}
	return append([]byte(kind+cursor+" "), data...)
}

// Beat returns what moves the cursor.
func (k *pollSink) Beat(cursor string) []byte { return []byte("b" + cursor + " ") }

// Last notes what went wrong.
func (k *pollSink) Last(err error) []byte {
	if _, parting := errors.AsType[farewell](err); parting || !errors.Is(err, bridge.ErrExpired) {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.failed = err
	}
	return nil
}

// Send takes what there is. With the first events there is enough: of what is retained with all of it, and where to go on.
func (k *pollSink) Send(frames [][]byte) (more bool, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer == nil { // what is behind the cursor follows before the stream can end
		k.timer = time.AfterFunc(k.wait, k.enough)
	}
	for _, f := range frames {
		head, data, _ := bytes.Cut(f, []byte{' '})
		if len(head) > 1 {
			k.cursor = string(head[1:])
		}
		switch head[0] {
		case 'r':
			k.events, more = append(k.events, data), true
		case 'e':
			k.events, more = append(k.events, data), false
		case 'b':
			more = false
		case 'g':
			k.gap = data
		}
	}
	if len(k.events) > 0 && !more || k.gap != nil && !k.patient {
		k.timer.Reset(0)
		return false, nil
	}
	return true, nil
}

func (k *pollSink) enough() { k.stream.End(bridge.ErrExpired) }

// Finish has nothing to send.
func (k *pollSink) Finish([]byte) {}

// Cut has nothing to cut.
func (k *pollSink) Cut() {}
