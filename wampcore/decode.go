package wampcore

import (
	"hash/maphash"
	"unicode/utf8"
)

// Decoder decodes messages. Its zero value is ready. What it returns lives in it, and is valid until its next use; a
// payload can be taken over with Payload.Take. It is not for several goroutines at once.
type Decoder struct {
	frame frame
	names interner

	// What was returned last, if it has a payload: that is released if nobody took it.
	payload *Payload
	into    *Buffer // DecodeBuffer: what the frame lives in

	hello        Hello
	welcome      Welcome
	abort        Abort
	challenge    Challenge
	authenticate Authenticate
	goodbye      Goodbye
	errorMsg     ErrorMsg
	publish      Publish
	published    Published
	subscribe    Subscribe
	subscribed   Subscribed
	unsubscribe  Unsubscribe
	unsubscribed Unsubscribed
	call         Call
	cancel       Cancel
	result       Result
	register     Register
	registered   Registered
	unregister   Unregister
	unregistered Unregistered
	invocation   Invocation
	interrupt    Interrupt
	yield        Yield
}

// Decode decodes one message. The frame is not referred to afterwards. What is no message is a *ProtocolError.
func (d *Decoder) Decode(e Encoding, b []byte) (Message, error) {
	d.reset(nil)
	return d.decode(e, b)
}

// DecodeBuffer decodes the message in b.B without copying its payload, for frames that are large. It takes b over.
func (d *Decoder) DecodeBuffer(e Encoding, b *Buffer) (Message, error) {
	d.reset(b)
	m, err := d.decode(e, b.B)
	if d.into != nil { // no payload wanted it
		d.into.Release()
		d.into = nil
	}
	return m, err
}

func (d *Decoder) reset(into *Buffer) {
	if d.payload != nil {
		d.payload.Release()
		d.payload = nil
	}
	d.into = into
}

func (d *Decoder) decode(e Encoding, b []byte) (Message, error) {
	if err := d.frame.split(e, b); err != nil {
		return nil, Violation("no message: %v", err)
	}
	if d.frame.n == 0 {
		return nil, Violation("no message: the list is empty")
	}
	code, err := (ref{e, d.frame.elements[0]}).uint()
	if err != nil {
		return nil, Violation("no message: its type %v", err)
	}
	f := fields{d: d, e: e, next: 1}
	m := f.message(MessageType(min(code, 1<<16-1)))
	if f.err != nil {
		return nil, f.err
	}
	return m, nil
}

// fields takes the elements of a message one after another. The first thing wrong stays in err.
type fields struct {
	d    *Decoder
	e    Encoding
	what string // the message's name
	next int
	err  *ProtocolError
}

// begin checks the number of elements, the type included.
func (f *fields) begin(what string, least, most int) bool {
	f.what = what
	if n := f.d.frame.n; n < least || n > most {
		f.err = Violation("%s: it has %d elements, not %d to %d", what, n, least, most)
	}
	return f.err == nil
}

func (f *fields) fail(name string, err error) {
	if f.err == nil {
		f.err = Violation("%s: %s %v", f.what, name, err)
	}
}

func (f *fields) element() ref {
	v := ref{f.e, f.d.frame.elements[f.next]}
	f.next++
	return v
}

func (f *fields) id(name string) ID {
	id, err := f.element().id()
	if err != nil {
		f.fail(name, err)
	}
	return id
}

func (f *fields) string(name string) string { return f.text(name, f.element()) }

func (f *fields) uri(name string) URI { return URI(f.string(name)) }

func (f *fields) text(name string, v ref) string {
	s, err := v.str()
	switch {
	case err != nil:
		f.fail(name, err)
	case !utf8.Valid(s):
		f.fail(name, errUTF8)
	default:
		return f.d.names.intern(s)
	}
	return ""
}

// raw returns a copy of an element that has to be a dict.
func (f *fields) raw(name string) Raw {
	v := f.element()
	if err := v.pairs(func([]byte, ref) error { return nil }); err != nil {
		f.fail(name, err)
	}
	return v.raw()
}

func (v ref) raw() Raw { return Raw{Encoding: v.e, Bytes: append([]byte(nil), v.b...)} }

// payload takes what is left. Its bytes are copied into memory of their own, unless the frame is.
func (f *fields) payload(p *Payload) {
	*p = Payload{}
	rest := f.d.frame.elements[f.next:f.d.frame.n]
	if len(rest) == 0 || f.err != nil {
		return
	}
	args, kwargs := f.optional("Arguments", rest[0], kindList), []byte(nil)
	if len(rest) > 1 {
		kwargs = f.optional("ArgumentsKw", rest[1], kindDict)
	}
	if f.err != nil || args == nil && kwargs == nil {
		return
	}
	*p = Payload{Encoding: f.e, Args: args, Kwargs: kwargs, buf: f.d.into}
	f.d.payload = p
	if f.d.into != nil {
		f.d.into = nil
		return
	}
	p.buf = NewBuffer(len(args) + len(kwargs))
	n := copy(p.buf.B, args)
	copy(p.buf.B[n:], kwargs)
	if args != nil {
		p.Args = p.buf.B[:n:n]
	}
	if kwargs != nil {
		p.Kwargs = p.buf.B[n:]
	}
}

// optional returns a list or dict, nil if it is empty or null: some clients send null for one of the two.
func (f *fields) optional(name string, b []byte, want kind) []byte {
	v := ref{f.e, b}
	if v.absent() {
		return nil
	}
	var c cursor
	if !c.begin(v, want) {
		if want == kindList {
			f.fail(name, errNoList)
		} else {
			f.fail(name, errNotDict)
		}
		return nil
	}
	if f.e == JSON {
		if end := b[space(b, 1)]; end == ']' || end == '}' {
			return nil
		}
	} else if !c.open && c.left == 0 || c.open && b[c.i] == 0xff {
		return nil
	}
	return b
}

// interner keeps strings that were seen, so that the same URI is not allocated again. It is bounded: a new string takes
// the place of another.
type interner struct {
	seed  maphash.Seed
	ready bool
	seen  [128]string
}

const maxInterned = 255

func (n *interner) intern(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	if len(b) > maxInterned {
		return string(b)
	}
	if !n.ready {
		n.seed, n.ready = maphash.MakeSeed(), true
	}
	slot := &n.seen[maphash.Bytes(n.seed, b)%uint64(len(n.seen))]
	if *slot != string(b) {
		*slot = string(b)
	}
	return *slot
}

// Reset lets go of what was returned last, as the next use would.
func (d *Decoder) Reset() { d.reset(nil) }
