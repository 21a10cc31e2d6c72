package wampcore

import "sync"

// Append appends m in encoding e. A payload in another encoding is transcoded on the way.
func Append(dst []byte, e Encoding, m Message) []byte {
	if event, ok := m.(*Event); ok {
		return append(dst, event.Encoded(e)...)
	}
	w := writer{e: e, b: dst}
	w.message(m)
	return w.b
}

// sharedEncodings are the encodings of a message that many receivers share, each made when it is first wanted.
type sharedEncodings [numEncodings]struct {
	once sync.Once
	b    []byte
}

// Encoded returns the event in encoding e. It is made once, whoever asks; nobody may change it.
func (m *Event) Encoded(e Encoding) []byte {
	s := &m.shared[e-1]
	s.once.Do(func() {
		w := writer{e: e, b: make([]byte, 0, m.Payload.Size()+64)}
		w.begin(m.Type(), 4, m.Payload)
		w.uint(uint64(m.Subscription))
		w.uint(uint64(m.Publication))
		w.eventDetails(&m.Details)
		w.payload(m.Payload)
		s.b = w.b
	})
	return s.b
}

// derivation is what receivers in this process make of a publication.
type derivation struct {
	kind uint8
	once sync.Once
	b    []byte
	next *derivation
}

// Derived returns what f makes of the event, which was published to topic: once for each kind, whoever asks. All events that are
// of one publication have it in common, so it must not depend on the subscription. Nobody may change it.
func (m *Event) Derived(kind uint8, topic URI, f func(kind uint8, topic URI, m *Event) []byte) []byte {
	if m.first != nil {
		m = m.first
	}
	d := m.derivation(kind)
	d.once.Do(func() { d.b = f(kind, topic, m) })
	return d.b
}

func (m *Event) derivation(kind uint8) *derivation {
	for {
		head := m.derived.Load()
		for d := head; d != nil; d = d.next {
			if d.kind == kind {
				return d
			}
		}
		d := &derivation{kind: kind, next: head}
		if m.derived.CompareAndSwap(head, d) {
			return d
		}
	}
}

// IsOf says that m is of the same publication as first. It is for who makes events.
func (m *Event) IsOf(first *Event) { m.first = first }

// begin writes a message's beginning: n elements and what the payload adds to that.
func (w *writer) begin(t MessageType, n int, p Payload) {
	switch {
	case len(p.Kwargs) > 0:
		n += 2
	case len(p.Args) > 0:
		n++
	}
	w.list(n)
	w.uint(uint64(t))
}

// payload writes the tail of a message, and ends it. [WAMP messages] Empty lists and dicts are left out.
func (w *writer) payload(p Payload) {
	switch {
	case len(p.Args) > 0:
		w.value(p.Encoding, p.Args)
	case len(p.Kwargs) > 0:
		w.list(0)
		w.endList()
	}
	if len(p.Kwargs) > 0 {
		w.value(p.Encoding, p.Kwargs)
	}
	w.endList()
}

// simple writes a message of ids alone.
func (w *writer) simple(t MessageType, ids ...ID) {
	w.begin(t, 1+len(ids), Payload{})
	for _, id := range ids {
		w.uint(uint64(id))
	}
	w.endList()
}

func (w *writer) message(m Message) { //nolint:funlen // a table
	switch m := m.(type) {
	case *Call:
		w.begin(m.Type(), 4, m.Payload)
		w.uint(uint64(m.Request))
		w.callOptions(&m.Options)
		w.string(string(m.Procedure))
		w.payload(m.Payload)
	case *Invocation:
		w.begin(m.Type(), 4, m.Payload)
		w.uint(uint64(m.Request))
		w.uint(uint64(m.Registration))
		w.invocationDetails(&m.Details)
		w.payload(m.Payload)
	case *Yield:
		w.begin(m.Type(), 3, m.Payload)
		w.uint(uint64(m.Request))
		w.yieldOptions(&m.Options)
		w.payload(m.Payload)
	case *Result:
		w.begin(m.Type(), 3, m.Payload)
		w.uint(uint64(m.Request))
		w.resultDetails(&m.Details)
		w.payload(m.Payload)
	case *Publish:
		w.begin(m.Type(), 4, m.Payload)
		w.uint(uint64(m.Request))
		w.publishOptions(&m.Options)
		w.string(string(m.Topic))
		w.payload(m.Payload)
	case *ErrorMsg:
		w.begin(m.Type(), 5, m.Payload)
		w.uint(uint64(m.RequestType))
		w.uint(uint64(m.Request))
		w.errorDetails(&m.Details)
		w.string(string(m.URI))
		w.payload(m.Payload)
	case *Published:
		w.simple(m.Type(), m.Request, m.Publication)
	case *Subscribe:
		w.begin(m.Type(), 4, Payload{})
		w.uint(uint64(m.Request))
		w.subscribeOptions(&m.Options)
		w.string(string(m.Topic))
		w.endList()
	case *Subscribed:
		w.simple(m.Type(), m.Request, m.Subscription)
	case *Unsubscribe:
		w.simple(m.Type(), m.Request, m.Subscription)
	case *Unsubscribed:
		w.done(m.Type(), m.Request, &m.Details, "subscription")
	case *Register:
		w.begin(m.Type(), 4, Payload{})
		w.uint(uint64(m.Request))
		w.registerOptions(&m.Options)
		w.string(string(m.Procedure))
		w.endList()
	case *Registered:
		w.simple(m.Type(), m.Request, m.Registration)
	case *Unregister:
		w.simple(m.Type(), m.Request, m.Registration)
	case *Unregistered:
		w.done(m.Type(), m.Request, &m.Details, "registration")
	case *Cancel:
		w.cancel(m.Type(), m.Request, m.Mode, m.Custom)
	case *Interrupt:
		w.cancel(m.Type(), m.Request, m.Mode, m.Custom)
	default:
		w.sessionMessage(m)
	}
}

// sessionMessage writes the messages that open and close sessions.
func (w *writer) sessionMessage(m Message) {
	switch m := m.(type) {
	case *Hello:
		w.begin(m.Type(), 3, Payload{})
		w.string(string(m.Realm))
		w.helloDetails(&m.Details)
		w.endList()
	case *Welcome:
		w.begin(m.Type(), 3, Payload{})
		w.uint(uint64(m.Session))
		w.welcomeDetails(&m.Details)
		w.endList()
	case *Abort:
		w.begin(m.Type(), 3, m.Payload)
		w.closeDetails(&m.Details)
		w.string(string(m.Reason))
		w.payload(m.Payload)
	case *Goodbye:
		w.begin(m.Type(), 3, Payload{})
		w.closeDetails(&m.Details)
		w.string(string(m.Reason))
		w.endList()
	case *Challenge:
		w.begin(m.Type(), 3, Payload{})
		w.string(m.AuthMethod)
		w.rawDict(m.Extra)
		w.endList()
	case *Authenticate:
		w.begin(m.Type(), 3, Payload{})
		w.string(m.Signature)
		w.rawDict(m.Extra)
		w.endList()
	}
}

func (w *writer) rawDict(r Raw) {
	if len(r.Bytes) == 0 {
		w.dict(0)
		w.endDict()
		return
	}
	w.value(r.Encoding, r.Bytes)
}

func (w *writer) done(t MessageType, request ID, d *RevokedDetails, what string) {
	if request != 0 {
		w.simple(t, request)
		return
	}
	w.begin(t, 3, Payload{})
	w.uint(0)
	o := w.options()
	o.id(what, d.ID)
	o.string("reason", d.Reason)
	o.end(nil)
	w.endList()
}

func (w *writer) cancel(t MessageType, request ID, mode CancelMode, custom Attributes) {
	w.begin(t, 3, Payload{})
	w.uint(uint64(request))
	o := w.options()
	o.string("mode", mode.String())
	o.end(custom)
	w.endList()
}
