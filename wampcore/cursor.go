package wampcore

// Cursor goes through a list's elements, or through a dict's keys and values in turn. It allocates nothing.
type Cursor struct{ c cursor }

// List returns a cursor over a value that was scanned, false if that is no list.
func (r Raw) List() (Cursor, bool) { return r.cursor(kindList) }

// Dict returns a cursor over a value that was scanned, false if that is no dict.
func (r Raw) Dict() (Cursor, bool) { return r.cursor(kindDict) }

func (r Raw) cursor(k kind) (Cursor, bool) {
	var c Cursor
	if r.Encoding == JSON {
		r.Bytes = r.Bytes[space(r.Bytes, 0):]
	}
	ok := c.c.begin(ref{r.Encoding, r.Bytes}, k)
	return c, ok
}

// Next returns what comes next, undecoded, false at the end.
func (c *Cursor) Next() (Raw, bool) {
	v, ok := c.c.next()
	return Raw{Encoding: v.e, Bytes: v.b}, ok
}

// Text returns a string's bytes, which may point into r, false if the value is none, or absent.
func (r Raw) Text() ([]byte, bool) {
	if len(r.Bytes) == 0 {
		return nil, false
	}
	s, err := ref{r.Encoding, r.Bytes}.str()
	return s, err == nil
}

// Null reports whether the value is absent, null or undefined.
func (r Raw) Null() bool { return len(r.Bytes) == 0 || ref{r.Encoding, r.Bytes}.absent() }

// First returns the first of the positional arguments, undecoded, and nothing if there is none.
func (p Payload) First() Raw {
	if len(p.Args) == 0 {
		return Raw{}
	}
	c, ok := Raw{Encoding: p.Encoding, Bytes: p.Args}.List()
	if !ok {
		return Raw{}
	}
	first, _ := c.Next()
	return first
}

// Depth returns how deep lists and dicts are nested in a value that was scanned: 0 if it is neither.
func (r Raw) Depth() int {
	if r.Encoding == JSON {
		return depthJSON(r.Bytes)
	}
	return depthBinary(r.Encoding, r.Bytes)
}

func depthJSON(b []byte) int {
	depth, most := 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			end, _ := skipJSONString(b, i+1)
			i = end - 1
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth--
		}
	}
	return most
}

func depthBinary(e Encoding, b []byte) int {
	var left [maxDepth + 1]int // elements on each level; negative: until a break
	left[0] = 1
	level, most := 0, 0
	for i := 0; ; {
		for left[level] == 0 {
			if level == 0 {
				return most
			}
			level--
		}
		var h head
		if e == MessagePack {
			h, _ = msgpackHead(b, i)
		} else {
			h, _ = cborHead(b, i)
		}
		i += h.size
		switch {
		case h.kind == kindTag:
			continue
		case h.kind == kindBreak:
			left[level] = 0
			continue
		case left[level] > 0:
			left[level]--
		}
		switch {
		case h.kind == kindList || h.kind == kindDict:
			n := h.n
			if h.kind == kindDict {
				n *= 2
			}
			if h.open {
				n = -1
			}
			level++
			left[level] = n
			most = max(most, level)
		case h.open:
			i, _ = skipCBORString(b, i, h)
		default:
			i += h.n
		}
	}
}

// AppendList appends a list of values that are encoded already.
func AppendList(b []byte, e Encoding, values [][]byte) []byte {
	w := writer{e: e, b: b}
	w.list(len(values))
	for _, v := range values {
		w.raw(v)
	}
	w.endList()
	return w.b
}

// CallOptions decodes the options of a CALL, as strictly as those of a message. A dict that is not what it has to be is a
// *ProtocolError.
func (r Raw) CallOptions() (CallOptions, error) {
	m, err := r.asOptions(TypeCall)
	if call, ok := m.(*Call); ok && err == nil {
		return call.Options, nil
	}
	return CallOptions{}, err
}

// PublishOptions decodes the options of a PUBLISH, as strictly as those of a message.
func (r Raw) PublishOptions() (PublishOptions, error) {
	m, err := r.asOptions(TypePublish)
	if publish, ok := m.(*Publish); ok && err == nil {
		return publish.Options, nil
	}
	return PublishOptions{}, err
}

// asOptions decodes a message that has r for its options.
func (r Raw) asOptions(kind MessageType) (Message, error) {
	w := writer{e: r.Encoding}
	w.list(4)
	w.uint(uint64(kind))
	w.uint(1)
	w.raw(r.Bytes)
	w.string("x")
	w.endList()
	return new(Decoder).Decode(r.Encoding, w.b)
}
