package bridge

import (
	"fmt"
	"strconv"

	"github.com/wampgate/wampgate/wampcore"
)

// How a stream begins, as the reader is told.
const (
	live    = "live"
	resumed = "resumed"
	gap     = "gap"
)

// opening is what a stream is while it has not yet caught up: what comes is held, until what came before has been sent.
type opening struct {
	begun func() bool // when the request's own context does not matter any more

	resume   string // live, resumed or gap
	reason   string // of the gap
	fail     bool
	after    wampcore.ID // the page that is asked for next begins behind it
	standard bool        // the router knows no more than the standard has: it is asked about one subscription
	more     bool        // there is another page to ask for
	lost     bool        // there is no session to ask

	held     []held
	bytes    int
	overflow bool // more came than is held
	again    bool // so it was before: all of the past that follows came meanwhile
	sent     int  // of held: what the past has reached
	missing  int  // of what came and is not held: what the past has not had
}

// held is an event that waits for the past.
type held struct {
	topic wampcore.URI
	e     *wampcore.Event
}

func newOpening(req *StreamRequest) *opening {
	o := &opening{resume: live, fail: req.FailOnGap}
	if req.Cursor == "" {
		return o
	}
	after, ok := ParseCursor(req.Cursor)
	o.resume, o.after = resumed, after
	if !ok {
		o.gap("the cursor is none that this gateway gave")
	}
	for _, topic := range req.Topics {
		if topic.URI.Reserved() {
			o.gap("the router's own events are not kept")
		}
	}
	return o
}

// gap gives up what was missed.
func (o *opening) gap(reason string) { o.resume, o.reason, o.after = gap, reason, 0 }

// hold keeps what came, within the bounds of a stream. What does not fit is asked for again, and may not be kept: what lists session ids
// is not.
func (o *opening) hold(topic wampcore.URI, e *wampcore.Event, cfg *Config) {
	size := e.Payload.Size()
	o.overflow = o.overflow || len(o.held) >= cfg.StreamEvents || o.bytes+size > cfg.StreamBytes
	switch {
	case !o.overflow:
		o.held, o.bytes = append(o.held, held{topic, e}), o.bytes+size
	case !e.Details.Retained || o.resume != resumed:
		o.missing++
	}
}

// holdAnew begins with what comes now. What the past has not reached is not held any more.
func (o *opening) holdAnew() {
	for _, h := range o.held[o.sent:] {
		if !h.e.Details.Retained {
			o.missing++
		}
	}
	o.held, o.bytes, o.sent, o.overflow, o.again = nil, 0, 0, false, true
}

// pageSize is how many events of the past are asked for at once.
const pageSize = 256

// askForPage asks for what the stream missed, or, if there is nothing to go on from, where the realm is. mu is held.
func (s *Stream) askForPage() {
	o := s.opening
	switch {
	case o.after == 0:
		s.ask(nil, "")
	case o.standard:
		s.ask(s.subscriptions, fmt.Sprintf(`"from_publication":%d`, o.after))
	default:
		s.ask(s.subscriptions, fmt.Sprintf(`"after_publication":%d,"limit":%d`, o.after, pageSize))
	}
}

// ask asks the router for the past of subscriptions; of none, where the realm is. mu is held.
func (s *Stream) ask(subscriptions []wampcore.ID, kwargs string) {
	args := []byte("[[")
	for i, id := range subscriptions {
		if i > 0 {
			args = append(args, ',')
		}
		args = strconv.AppendUint(args, uint64(id), 10)
	}
	args = append(args, "]]"...)
	if s.opening != nil && s.opening.standard {
		args = args[1 : len(args)-1]
	}
	p := wampcore.Payload{Encoding: wampcore.JSON, Args: args}
	if kwargs != "" {
		p.Kwargs = []byte("{" + kwargs + "}")
	}
	s.asking = s.request(func(id wampcore.ID) wampcore.Message {
		return &wampcore.Call{Request: id, Procedure: "wamp.subscription.get_events", Payload: p}
	})
}

// answered goes on with what the router said. Who serves the stream calls it.
func (s *Stream) answered(a *answer) {
	p, err := page{}, a.err
	if err == nil {
		p, err = decodePast(a.payload)
	}
	s.mu.Lock()
	s.asking = 0
	o, begun := s.opening, s.sink != nil
	switch {
	case o == nil:
		s.mu.Unlock()
		s.position(p.last)
		return
	case o.lost: // there will be another session
		s.mu.Unlock()
		return
	case err != nil && o.after != 0 && !o.standard && len(s.req.Topics) == 1:
		o.standard = true
		s.askForPage()
		s.mu.Unlock()
		return
	}
	gapped := o.judge(&p, err, begun)
	s.mu.Unlock()
	if !begun && o.resume == gap && o.fail {
		s.End(&GapError{o.reason})
		return
	}
	if begun || s.begin() {
		s.catchUp(o, &p, begun, gapped || !begun && o.resume == gap)
	}
}

// judge takes what cannot be whole for a gap, and reports whether that is new. What is left behind a gap is still sent where the stream
// was on its way; a reader that comes with such a cursor begins with what comes now.
func (o *opening) judge(p *page, err error, begun bool) bool {
	reason := ""
	switch {
	case o.after == 0:
		p.events, p.more = nil, false
		return false
	case err != nil:
		reason = "the router does not tell of the past"
	case p.gap:
		reason = "what came behind the cursor is not, or no longer, kept"
	case o.standard && (len(p.events) == 0 || p.events[0].Publication != o.after):
		reason = "the router does not know the cursor's event any more"
	case o.standard:
		p.events = p.events[1:]
	}
	if reason != "" && begun && p.gap {
		o.reason = reason
	} else if reason != "" {
		o.gap(reason)
		p.events, p.more = nil, false
	}
	return reason != ""
}

// begin gets the sink. It reports whether there is one.
func (s *Stream) begin() bool {
	if !s.opening.begun() { // the request's context has ended
		return false
	}
	sink, err := s.req.Ready(s)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.end(err)
		return false
	}
	s.sink, s.req.Ready, s.wake = sink, nil, nil
	s.b.streamStats.opened.Add(1)
	if s.err != nil { // it ended meanwhile
		return true
	}
	s.start()
	return true
}

// catchUp sends a page of the past. With the last one, what is held follows, and from then on what comes.
func (s *Stream) catchUp(o *opening, p *page, begun, gapped bool) {
	frames, size := make([][]byte, len(p.events)), 0
	for i, e := range p.events {
		topic := e.Details.Topic
		if topic == "" {
			topic = s.req.Topics[0].URI
		}
		frames[i] = s.req.Frames.Past(topic, e, true)
		size += len(frames[i])
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || s.opening != o || o.lost {
		return
	}
	s.announce(p, !begun, gapped)
	if n := len(frames); n > 0 {
		s.cursor = p.events[n-1].Publication
		o.after = s.cursor
		s.seen += uint64(n)
		s.b.streamStats.replayed.Add(uint64(n))
		s.write(s.merge(o, p.events, frames), n, size)
	}
	switch {
	case p.more:
		o.more = true
	case o.overflow && o.after != 0:
		o.more = true
		o.holdAnew()
	default:
		s.handOver(o, p.last)
	}
}

// announce says how the stream begins, and that there is a gap. Where nothing waits to follow, the reader gets a cursor with the last
// of that: not before it knows of the gap. mu is held.
func (s *Stream) announce(p *page, begins, gapped bool) {
	o, cursor := s.opening, ""
	if begins && len(o.held) == 0 && len(p.events) == 0 && !o.overflow && p.last != 0 {
		s.cursor = p.last
		cursor = Cursor(p.last)
	}
	var frames [][]byte
	if begins {
		own := cursor
		if gapped {
			own = ""
		}
		frames = append(frames, s.req.Frames.Notice("wamp.ready", own, fmt.Appendf(nil, `{"stream":"%d","resume":"%s"}`, s.id, o.resume)))
		if o.resume == resumed {
			s.b.streamStats.resumed.Add(1)
		}
	}
	if gapped {
		frames = append(frames, s.gapped(cursor, o.reason))
	}
	if len(frames) > 0 {
		s.notice(frames...)
	}
}

// gapped returns the notice of a gap, which it counts.
func (s *Stream) gapped(cursor, reason string) []byte {
	s.b.streamStats.gaps.Add(1)
	return s.req.Frames.Notice("wamp.gap", cursor, append(appendString([]byte(`{"reason":`), reason), '}'))
}

// merge returns the frames of the past, with what is held and was not kept at its place among them. mu is held.
func (s *Stream) merge(o *opening, events []*wampcore.Event, frames [][]byte) [][]byte {
	if len(o.held) == 0 && !o.again {
		return frames
	}
	at := make(map[wampcore.ID]int, len(o.held))
	for i, h := range o.held {
		if !h.e.Details.Retained {
			at[h.e.Publication] = i
		}
	}
	merged := make([][]byte, 0, len(frames)+len(o.held))
	upTo := func(end int) {
		for _, h := range o.held[o.sent:max(end, o.sent)] {
			if !h.e.Details.Retained {
				merged = append(merged, s.req.Frames.Event(h.topic, h.e))
			}
		}
		o.sent = max(o.sent, end)
	}
	for n, e := range events {
		i, ok := at[e.Publication]
		switch {
		case ok:
			upTo(i)
			o.sent = max(o.sent, i+1)
		case o.overflow && o.sent > 0: // it came behind all that is held
			upTo(len(o.held))
			o.missing--
		case o.again:
			o.missing--
		}
		merged = append(merged, frames[n])
	}
	return merged
}

const overflowReason = "more came at once than is held, and not all of it is kept"

// handOver sends what is held and was not among the past. What has no cursor of its own, such as what is retained, is followed by where
// the realm was: a reader that comes back after no more than that has to go on from somewhere. mu is held.
func (s *Stream) handOver(o *opening, last wampcore.ID) {
	s.opening = nil
	out := newOutgoing()
	defer out.release()
	if o.missing > 0 {
		s.notice(s.gapped("", overflowReason))
	}
	retained := map[wampcore.ID]bool{}
	for _, h := range o.held[o.sent:] {
		switch {
		case !h.e.Details.Retained:
			if !h.topic.Reserved() {
				s.cursor = h.e.Publication
			}
			out.frames = append(out.frames, s.req.Frames.Event(h.topic, h.e))
		case o.resume == resumed || retained[h.e.Publication]: // it was seen
			continue
		default:
			retained[h.e.Publication] = true
			out.frames = append(out.frames, s.req.Frames.Past(h.topic, h.e, false))
		}
		s.seen++
		if s.req.Slow == SlowConflate {
			out.topics = append(out.topics, h.topic)
		}
	}
	if len(out.frames) == 0 {
		return
	}
	s.send(out)
	if s.cursor == 0 && s.err == nil {
		s.cursor = last
		s.placed(s.req.Frames.Beat(Cursor(last)))
	}
}

// placed sends a frame behind all that waits. mu is held.
func (s *Stream) placed(frame []byte) {
	if s.blocked {
		s.keep(frame, "")
	} else {
		s.notice(frame)
	}
}
