package wampcore

import "sync"

// Raw is one encoded value: a dict that only an application or an authentication method understands. Empty Bytes mean
// that there is none.
type Raw struct {
	Encoding Encoding
	Bytes    []byte
}

// Payload is the application's part of a message, Arguments and ArgumentsKw, in the encoding in which it arrived. Both
// are whole encoded values, a list and a dict; nil means absent. The bytes are never changed.
type Payload struct {
	Encoding Encoding
	Args     []byte
	Kwargs   []byte

	buf *Buffer // where the bytes live, if that can be used again
}

// Empty reports whether there is neither Arguments nor ArgumentsKw.
func (p *Payload) Empty() bool { return len(p.Args) == 0 && len(p.Kwargs) == 0 }

// Size returns the length of the encoded payload in bytes.
func (p *Payload) Size() int { return len(p.Args) + len(p.Kwargs) }

// Clone returns a copy with memory of its own.
func (p *Payload) Clone() Payload {
	b := make([]byte, p.Size())
	n := copy(b, p.Args)
	copy(b[n:], p.Kwargs)
	c := Payload{Encoding: p.Encoding}
	if p.Args != nil {
		c.Args = b[:n:n]
	}
	if p.Kwargs != nil {
		c.Kwargs = b[n:]
	}
	return c
}

// Compact returns the payload, with memory that is not much more than it needs. It is for what is kept for long. Bytes that have no buffer
// may be part of anything, and are copied.
func (p *Payload) Compact() Payload {
	if p.Empty() || p.buf != nil && cap(p.buf.B) <= 2*p.Size() {
		return p.Take()
	}
	c := p.Clone()
	p.Release()
	return c
}

// Take returns the payload and leaves none behind if its memory has one owner, which is then the caller.
func (p *Payload) Take() Payload {
	taken := *p
	if p.buf != nil {
		*p = Payload{}
	}
	return taken
}

// Release gives the payload's memory back for another message. Nothing may look at its bytes any more.
func (p *Payload) Release() {
	if p.buf != nil {
		p.buf.Release()
		*p = Payload{}
	}
}

// Buffer is memory for a frame or a payload that is used again and again. It has one owner at a time.
type Buffer struct {
	B     []byte
	class int8 // index into bufferClasses; -1: too large to keep
}

var bufferClasses = [...]int{256, 1 << 10, 4 << 10, 16 << 10, 68 << 10, 260 << 10, 1<<20 + 4<<10} //nolint:gochecknoglobals // a constant table

var bufferPools [len(bufferClasses)]sync.Pool //nolint:gochecknoglobals // pools are made to be shared

// NewBuffer returns a buffer of length n.
func NewBuffer(n int) *Buffer {
	for i, size := range bufferClasses {
		if n <= size {
			if b, ok := bufferPools[i].Get().(*Buffer); ok {
				b.B = b.B[:n]
				return b
			}
			return &Buffer{B: make([]byte, n, size), class: int8(i)}
		}
	}
	return &Buffer{B: make([]byte, n), class: -1}
}

// Release gives the buffer back. Nobody may use it, or what points into it, after that.
func (b *Buffer) Release() {
	if b.class >= 0 {
		bufferPools[b.class].Put(b)
	}
}

// NewInvocation returns an Invocation whose memory Recycle can use again.
func NewInvocation() *Invocation {
	m, ok := invocations.Get().(*Invocation)
	if !ok {
		m = new(Invocation)
	}
	m.pooled = true
	return m
}

// NewResult returns a Result whose memory Recycle can use again.
func NewResult() *Result {
	m, ok := results.Get().(*Result)
	if !ok {
		m = new(Result)
	}
	m.pooled = true
	return m
}

// NewErrorMsg returns an ErrorMsg whose memory Recycle can use again.
func NewErrorMsg() *ErrorMsg {
	m, ok := errorMsgs.Get().(*ErrorMsg)
	if !ok {
		m = new(ErrorMsg)
	}
	m.pooled = true
	return m
}

var invocations, results, errorMsgs sync.Pool //nolint:gochecknoglobals // pools are made to be shared

// Recycle takes back a message that NewInvocation, NewResult or NewErrorMsg made, with its payload, and does nothing with
// any other. A transport calls it when it has encoded the message and is thus its last reader.
func Recycle(m Message) {
	switch m := m.(type) {
	case *Invocation:
		if m.pooled {
			m.Payload.Release()
			*m = Invocation{}
			invocations.Put(m)
		}
	case *Result:
		if m.pooled {
			m.Payload.Release()
			*m = Result{}
			results.Put(m)
		}
	case *ErrorMsg:
		if m.pooled {
			m.Payload.Release()
			*m = ErrorMsg{}
			errorMsgs.Put(m)
		}
	}
}
