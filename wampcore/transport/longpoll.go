package transport

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
)

// How long a long-poll peer may take.
const (
	pollHold = 10 * time.Second // that a receive request waits for something: Autobahn's client waits for 12 s
	pollGone = 30 * time.Second // without a receive request, until the peer counts as gone
	pollPart = 2 * time.Second  // to answer GOODBYE, and to close what is closed
	maxOpen  = 4 << 10          // bytes of an open request
)

// LongPoll is the HTTP long-poll transport for peers whose proxies let neither WebSocket nor streams pass. [RFC HTTP
// longpoll] It serves POST …/open, …/{transport}/receive, …/{transport}/send and …/{transport}/close, wherever it is mounted.
//
// A receive request is answered with what waits, or with 204 when nothing came for a while. A send request is answered with 204
// when its messages were taken: they are the next ones that Receive returns. The RFC says 202 "no content", which Autobahn
// takes for a failure.
type LongPoll struct {
	cfg    Config
	accept func(*Conn, *http.Request)
	quota  quota

	mu     sync.Mutex
	polls  map[string]*poll
	parted map[string]struct{} // ended by GOODBYE a moment ago
}

// NewLongPoll returns a handler that passes each new transport to accept, which must not wait. There are no more than
// total transports at once, and perAddress from one address; 0 is no bound.
func NewLongPoll(cfg Config, total, perAddress int, accept func(c *Conn, r *http.Request)) *LongPoll {
	return &LongPoll{
		cfg: cfg.withDefaults(), accept: accept, polls: map[string]*poll{}, parted: map[string]struct{}{},
		quota: quota{total: total, perAddress: perAddress},
	}
}

// ServeHTTP does what the last elements of the path say.
func (l *LongPoll) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "long-poll requests are POST", http.StatusMethodNotAllowed)
		return
	}
	path := strings.Split(r.URL.Path, "/")
	action := path[len(path)-1]
	if action == "open" {
		l.open(w, r)
		return
	}
	var p *poll
	parted := false
	if len(path) > 1 {
		p, parted = l.find(path[len(path)-2])
	}
	switch {
	case parted && (action == "send" || action == "close"): // the peer's last word, which nobody reads any more
		w.WriteHeader(http.StatusNoContent)
	case p == nil:
		http.Error(w, "there is no such transport, or it is closed: open another", http.StatusNotFound)
	case action == "receive":
		p.receive(w, r)
	case action == "send":
		p.send(w, r)
	case action == "close":
		p.fail(io.EOF)
		w.WriteHeader(http.StatusNoContent)
	default:
		http.Error(w, "long-poll has open, receive, send and close", http.StatusNotFound)
	}
}

func (l *LongPoll) find(id string) (p *poll, parted bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, parted = l.parted[id]
	return l.polls[id], parted
}

// part lets the peer of a transport that ends now answer, for a while.
func (l *LongPoll) part(id string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.parted[id] = struct{}{}
	time.AfterFunc(pollPart, func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.parted, id)
	})
}

func (l *LongPoll) open(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Protocols []string `json:"protocols"`
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(l.cfg.HandshakeTimeout))
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOpen)).Decode(&request)
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil {
		http.Error(w, `the body has to be like {"protocols":["wamp.2.json"]}`, http.StatusBadRequest)
		return
	}
	supported := l.cfg.protocols(false, true)
	proto, ok := protocol{}, false
	for _, name := range request.Protocols {
		if proto, ok = find(supported, name); ok {
			break
		}
	}
	if !ok {
		http.Error(w, "none of the protocols is supported; supported are "+strings.Join(names(supported), ", "), http.StatusBadRequest)
		return
	}
	from := sourceOf(r.RemoteAddr)
	if !l.quota.take(from) {
		w.Header().Set("Retry-After", "5")
		http.Error(w, "there are too many connections", http.StatusServiceUnavailable)
		return
	}
	p := l.add(proto, from)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]string{"protocol": proto.String(), "transport": p.id})
	l.accept(&Conn{Transport: p, encoding: proto.encoding}, r)
}

func (l *LongPoll) add(proto protocol, from source) *poll {
	p := &poll{
		l: l, id: rand.Text(), from: from, batch: newBatch(proto), encoding: proto.encoding,
		posts: make(chan *post), sending: make(chan struct{}, 1),
		woken: make(chan struct{}), gone: make(chan struct{}), changed: make(chan struct{}),
	}
	p.expiry = time.AfterFunc(pollHold+pollGone, func() { p.fail(errPollGone) })
	l.mu.Lock()
	defer l.mu.Unlock()
	l.polls[p.id] = p
	return p
}

var errPollGone = errors.New("receive: no receive request came for a while")

// poll is one peer's transport.
type poll struct {
	l        *LongPoll
	id       string
	from     source
	encoding wampcore.Encoding
	batch    *batch // nil: each body is a message

	posts   chan *post    // to the reader
	sending chan struct{} // of size 1: held by the send request that is at work
	woken   chan struct{} // closed by Interrupt
	gone    chan struct{} // closed by fail
	expiry  *time.Timer   // set anew by each receive request

	decoder wampcore.Decoder // the reader's
	current *post            // the reader's: the rest of a batch is to come

	mu      sync.Mutex
	out     [][]byte      // bodies of answers that wait for receive requests
	changed chan struct{} // closed, and made anew, when out changes, or writing ends
	goodbye bool          // the last message was GOODBYE
	turn    int           // of the receive request that came last, and is the only one to get something
	writing int           // receive requests that write their answers
	err     error         // why it is over
	once    sync.Once     // of woken
}

// post is the body of a send request.
type post struct {
	body  []byte
	taken chan error // of size 1
}

// change tells all who wait. mu is held.
func (p *poll) change() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// fail ends the transport, the first time.
func (p *poll) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return
	}
	p.err = err
	close(p.gone)
	p.expiry.Stop()
	p.change()
	p.l.mu.Lock()
	delete(p.l.polls, p.id)
	p.l.mu.Unlock()
	p.l.quota.give(p.from)
}

// send passes a request's body to the reader. One request at a time does so, and has its body in memory.
func (p *poll) send(w http.ResponseWriter, r *http.Request) {
	select {
	case p.sending <- struct{}{}:
		defer func() { <-p.sending }()
	case <-p.gone:
		p.late(w)
		return
	case <-r.Context().Done():
		return
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(p.l.cfg.WriteTimeout + p.l.cfg.HandshakeTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, int64(p.l.cfg.MaxMessage)))
	_ = rc.SetReadDeadline(time.Time{}) // or it would end the request while the router is slow
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		http.Error(w, "the message is larger than this router takes", http.StatusRequestEntityTooLarge)
		p.fail(errTooLarge) // it was lost, and others may follow
		return
	}
	if err != nil {
		http.Error(w, "the body did not come whole", http.StatusBadRequest)
		return
	}
	po := &post{body, make(chan error, 1)}
	select {
	case p.posts <- po:
	case <-p.gone:
		p.late(w)
		return
	case <-r.Context().Done():
		return
	}
	select {
	case err = <-po.taken:
	case <-p.gone:
		select { // what the reader said of the body before it ended the transport is the answer
		case err = <-po.taken:
		default:
			p.late(w)
			return
		}
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// late answers a send request that comes when the transport is over: what it says may be the answer to GOODBYE.
func (p *poll) late(w http.ResponseWriter) {
	if _, parted := p.l.find(p.id); parted {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	http.Error(w, "the transport is closed", http.StatusGone)
}

// receive answers with what waits, or with nothing after a while, or when another receive request comes.
func (p *poll) receive(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), pollHold)
	defer cancel()
	body, err := p.take(ctx)
	switch {
	case err != nil:
		http.Error(w, "the transport is closed", http.StatusGone)
		return
	case body == nil:
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	if p.encoding.Text() {
		w.Header().Set("Content-Type", "application/json")
	}
	rc := http.NewResponseController(w)
	_ = rc.SetWriteDeadline(time.Now().Add(p.l.cfg.WriteTimeout))
	_, err = w.Write(body)
	err = errors.Join(err, rc.Flush())
	_ = rc.SetWriteDeadline(time.Time{})
	p.mu.Lock()
	p.writing--
	p.change()
	p.mu.Unlock()
	if err != nil {
		p.fail(err) // what it was is lost
	}
}

// take waits for something to send: until ctx ends, or another request takes its place.
func (p *poll) take(ctx context.Context) ([]byte, error) {
	p.expiry.Reset(pollHold + pollGone)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.turn++
	mine := p.turn
	p.change()
	for p.err == nil && p.turn == mine && ctx.Err() == nil {
		if len(p.out) > 0 {
			body := p.out[0]
			p.out = p.out[1:]
			p.writing++
			return body, nil
		}
		p.wait(ctx.Done())
	}
	return nil, p.err
}

// wait waits for a change. mu is held, but not while it waits.
func (p *poll) wait(done <-chan struct{}) {
	changed := p.changed
	p.mu.Unlock()
	defer p.mu.Lock()
	select {
	case <-changed:
	case <-done:
	}
}

// Receive returns the next message.
func (p *poll) Receive() (wampcore.Message, error) {
	if p.current == nil {
		select {
		case p.current = <-p.posts:
			if p.batch != nil {
				p.batch.rest = p.current.body
			}
		case <-p.woken:
		case <-p.gone:
			p.mu.Lock()
			defer p.mu.Unlock()
			return nil, p.err
		}
	}
	select {
	case <-p.woken:
		return nil, wampcore.ErrInterrupted
	default:
	}
	m, err := p.next()
	if err != nil || !p.batch.pending() {
		p.current.taken <- err
		p.current = nil
	}
	return m, err
}

func (p *poll) next() (wampcore.Message, error) {
	b := p.current.body
	if p.batch != nil {
		var err error
		if b, err = p.batch.next(); err != nil {
			return nil, err
		}
	}
	return p.decoder.Decode(p.encoding, b)
}

// Ready reports whether there is more of a batch.
func (p *poll) Ready() bool { return p.batch.pending() }

// Write encodes messages for the next receive requests. It never reports that they are on their way: Flush knows.
func (p *poll) Write(ms []wampcore.Message) (bool, error) {
	var bodies [][]byte
	goodbye := false
	for len(ms) > 0 {
		_, goodbye = ms[len(ms)-1].(*wampcore.Goodbye)
		var b []byte
		if p.batch != nil {
			b, ms = p.batch.fill(nil, ms)
		} else {
			b = wampcore.Append(nil, p.encoding, ms[0])
			wampcore.Recycle(ms[0])
			ms = ms[1:]
		}
		bodies = append(bodies, b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.goodbye = goodbye
	p.out = append(p.out, bodies...)
	p.change()
	return p.err != nil || len(p.out) == 0, p.err
}

// Flush waits until receive requests have taken everything: the peer counts as gone when none comes.
func (p *poll) Flush() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.err == nil && len(p.out)+p.writing > 0 {
		p.wait(nil)
	}
	return p.err
}

// Interrupt wakes the reader.
func (p *poll) Interrupt() { p.once.Do(func() { close(p.woken) }) }

// Close ends the transport. What was flushed is on its way. A peer that was said GOODBYE may still answer, to nobody.
func (p *poll) Close(time.Duration) error {
	p.mu.Lock()
	goodbye := p.goodbye && p.err == nil
	p.mu.Unlock()
	if goodbye {
		p.l.part(p.id)
	}
	p.fail(wampcore.ErrClosed)
	return nil
}
