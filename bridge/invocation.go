package bridge

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/client"
)

// What becomes of an answer that comes too late, or to what is not the principal's.
var (
	ErrGone         = errors.New("the invocation is over: it was answered, cancelled or timed out")
	ErrNoInvocation = errors.New("there is no such invocation")
)

// services are the offers of HTTP services, and their open invocations.
type services struct {
	grace    time.Duration
	maxBytes int
	key      []byte // of the ids
	life     context.Context
	cut      context.CancelFunc
	work     sync.WaitGroup // sessions that end
	stats    invocationCounters

	mu       sync.Mutex
	offers   map[*offer]struct{}
	open     map[string]*invocation
	detached int
	left     chan struct{} // closed when a reader leaves
	draining bool
}

func (s *services) init(grace time.Duration, maxBytes int) {
	s.grace, s.maxBytes = grace, maxBytes
	s.key = make([]byte, sha256.Size)
	_, _ = rand.Read(s.key) // it never fails
	s.life, s.cut = context.WithCancel(context.Background())
	s.left = make(chan struct{})
	s.offers, s.open = map[*offer]struct{}{}, map[string]*invocation{}
}

// drain ends all offers. Their open invocations may be answered until close.
func (s *services) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	for o := range s.offers {
		o.stopLocked(ErrDraining)
	}
}

func (s *services) close(ctx context.Context) {
	defer context.AfterFunc(ctx, s.cut)()
	s.work.Wait()
	s.cut()
}

// The ids of invocations are not to be guessed, and say whose they are: a nonce, and its MAC with the principal. So what was
// open once is known without a memory of it.
const (
	nonceSize = 12
	macSize   = 15
)

func (s *services) newID(p Principal) string {
	id := make([]byte, nonceSize, nonceSize+macSize)
	_, _ = rand.Read(id)
	return base64.RawURLEncoding.EncodeToString(append(id, s.mac(p, id)...))
}

func (s *services) mac(p Principal, nonce []byte) []byte {
	h := hmac.New(sha256.New, s.key)
	_, _ = fmt.Fprintf(h, "%x %q %q %q %q %q", nonce, p.Realm, p.AuthID, p.AuthRole, p.Method, p.Provider)
	return h.Sum(nil)[:macSize]
}

// find returns an open invocation of the principal's.
func (s *services) find(p Principal, id string) (*invocation, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(id)
	if err != nil || len(raw) != nonceSize+macSize || !hmac.Equal(raw[nonceSize:], s.mac(p, raw[:nonceSize])) {
		return nil, ErrNoInvocation
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if inv := s.open[id]; inv != nil {
		return inv, nil
	}
	return nil, ErrGone
}

// invocation is a call that waits for a service's answer.
type invocation struct {
	o    *offer
	id   string
	ctx  context.Context //nolint:containedctx // of its handler
	call *client.Invocation
	busy chan struct{} // of size 1: one answer at a time, in their order

	// Guarded by services.mu.
	first     *notice // nil if it comes in parts: those are not sent again
	delivered bool
	settled   bool
	answer    chan outcome // of size 1
	answered  context.CancelFunc
}

type outcome struct {
	payload wampcore.Payload
	err     error
}

// settle gives the answer, unless there is one. services.mu is held.
func (inv *invocation) settle(a outcome) bool {
	if inv.settled {
		return false
	}
	inv.settled = true
	inv.answer <- a
	inv.answered()
	return true
}

// invoke has a service answer a call.
func (o *offer) invoke(ctx context.Context, call *client.Invocation) (wampcore.Payload, error) {
	unanswered, answered := context.WithCancel(ctx)
	defer answered()
	inv := &invocation{
		o: o, id: o.s.newID(o.key.Principal), ctx: ctx, call: call, busy: make(chan struct{}, 1),
		answer: make(chan outcome, 1), answered: answered,
	}
	if err := o.begin(inv); err != nil {
		return wampcore.Payload{}, err
	}
	for part := range call.Parts(unanswered) {
		n := &notice{kind: noticeInvocation, inv: inv, data: inv.encode(part)}
		if part.Final && !call.Details.Progress {
			inv.first = n
		}
		if o.push(unanswered, n) != nil {
			break
		}
	}
	select {
	case <-unanswered.Done():
	case <-ctx.Done():
	}
	return o.finish(ctx, inv)
}

func (o *offer) begin(inv *invocation) error {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	if o.err != nil {
		return errServiceAway
	}
	o.open[inv] = struct{}{}
	o.s.open[inv.id] = inv
	o.s.stats.Invocations.Add(1)
	return nil
}

// finish returns the answer, or tells the service that it is not wanted any more.
func (o *offer) finish(ctx context.Context, inv *invocation) (wampcore.Payload, error) {
	o.s.mu.Lock()
	defer o.s.mu.Unlock()
	delete(o.open, inv)
	delete(o.s.open, inv.id)
	o.queue = slices.DeleteFunc(o.queue, func(n *notice) bool {
		if n.inv == inv {
			o.bytes -= len(n.data)
		}
		return n.inv == inv
	})
	if inv.settled {
		a := <-inv.answer
		return a.payload, a.err
	}
	inv.settled = true
	o.s.stats.Interrupted.Add(1)
	if inv.delivered && o.err == nil {
		data, err := json.Marshal(map[string]string{"invocation": inv.id, "reason": interruption(context.Cause(ctx))})
		if err == nil {
			o.put(&notice{kind: noticeInterrupt, inv: inv, data: data})
		}
	}
	return wampcore.Payload{}, ctx.Err()
}

func interruption(err error) string {
	if e, ok := errors.AsType[*wampcore.Error](err); ok {
		return string(e.URI)
	}
	return string(wampcore.ErrCanceled)
}

// called is what a service gets of an INVOCATION.
type called struct {
	Invocation string          `json:"invocation"`
	Procedure  wampcore.URI    `json:"procedure"`
	Args       json.RawMessage `json:"args,omitempty"`
	Kwargs     json.RawMessage `json:"kwargs,omitempty"`
	Details    callDetails     `json:"details"`
}

type callDetails struct {
	ReceiveProgress bool        `json:"receive_progress,omitzero"`
	Progress        bool        `json:"progress,omitzero"` // more of this call is to come
	TimeoutMs       int64       `json:"timeout_ms,omitzero"`
	Caller          wampcore.ID `json:"caller,omitzero"`
	CallerAuthID    string      `json:"caller_authid,omitzero"`
	CallerAuthRole  string      `json:"caller_authrole,omitzero"`
	TrustLevel      *int64      `json:"trustlevel,omitempty"`
	Traceparent     string      `json:"traceparent,omitzero"`
	Tracestate      string      `json:"tracestate,omitzero"`
}

// encode returns a part of the call on one line.
func (inv *invocation) encode(part client.Part) []byte {
	d := inv.call.Details
	p := part.Payload.Transcode(wampcore.JSON)
	said := called{
		Invocation: inv.id, Procedure: inv.o.key.Procedure, Args: p.Args, Kwargs: p.Kwargs,
		Details: callDetails{
			ReceiveProgress: d.ReceiveProgress, Progress: !part.Final, Caller: d.Caller, CallerAuthID: d.CallerAuthID,
			CallerAuthRole: d.CallerAuthRole, TrustLevel: d.TrustLevel,
			Traceparent: attribute(d.Custom, "_traceparent"), Tracestate: attribute(d.Custom, "_tracestate"),
		},
	}
	if d.Procedure != "" {
		said.Procedure = d.Procedure
	}
	if deadline, ok := inv.ctx.Deadline(); ok {
		said.Details.TimeoutMs = max(time.Until(deadline).Milliseconds(), 1)
	}
	line, err := marshal(said)
	if err != nil { // it was scanned when it came
		return []byte(`{}`)
	}
	return line
}

func attribute(all wampcore.Attributes, key string) (text string) {
	for _, a := range all {
		if a.Key == key {
			_ = a.Value.Decode(&text) // what is no text is not passed on
		}
	}
	return text
}

// Yield answers an invocation, or sends a part of the answer that its caller may take.
func (b *Bridge) Yield(ctx context.Context, p Principal, id string, req YieldRequest) error {
	inv, err := b.services.find(p, id)
	if err != nil {
		return err
	}
	if err := inv.enter(ctx); err != nil {
		return err
	}
	defer inv.exit()
	if req.Progress {
		return inv.progress(ctx, req.Payload)
	}
	return inv.give(outcome{payload: req.Payload})
}

// Fail answers an invocation with an error.
func (b *Bridge) Fail(ctx context.Context, p Principal, id string, e *wampcore.Error) error {
	inv, err := b.services.find(p, id)
	if err != nil {
		return err
	}
	if err := inv.enter(ctx); err != nil {
		return err
	}
	defer inv.exit()
	return inv.give(outcome{err: e})
}

func (inv *invocation) enter(ctx context.Context) error {
	select {
	case inv.busy <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (inv *invocation) exit() { <-inv.busy }

func (inv *invocation) give(a outcome) error {
	s := inv.o.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if !inv.settle(a) {
		return ErrGone
	}
	if a.err != nil {
		s.stats.Failed.Add(1)
	} else {
		s.stats.Answered.Add(1)
	}
	return nil
}

func (inv *invocation) progress(ctx context.Context, p wampcore.Payload) error {
	inv.o.s.mu.Lock()
	settled := inv.settled
	inv.o.s.mu.Unlock()
	if settled {
		return ErrGone
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(inv.ctx, cancel)() //nolint:contextcheck // it ends with both
	err := inv.call.Progress(ctx, p)
	if inv.ctx.Err() != nil {
		return ErrGone
	}
	return err
}
