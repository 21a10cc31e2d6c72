package httpapi

import (
	"bytes"
	"compress/gzip"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Values of headers that many answers have. Nobody changes them.
var (
	noReferrer   = []string{"no-referrer"}                         //nolint:gochecknoglobals // constants
	noSniff      = []string{"nosniff"}                             //nolint:gochecknoglobals // constants
	noStore      = []string{"no-store"}                            //nolint:gochecknoglobals // constants
	varyEncoding = []string{"Accept-Encoding"}                     //nolint:gochecknoglobals // constants
	varyFormat   = []string{"Accept, Accept-Encoding"}             //nolint:gochecknoglobals // constants
	problemType  = []string{"application/problem+json"}            //nolint:gochecknoglobals // constants
	gzipped      = []string{"gzip"}                                //nolint:gochecknoglobals // constants
	gzipWriters  = sync.Pool{New: func() any { return newGzip() }} //nolint:gochecknoglobals // pools are made to be shared
)

// minGzip is the least that is worth to be compressed.
const minGzip = 1 << 10

// countedByServer is how long a body may be whose length net/http says itself.
const countedByServer = 2 << 10

// Who is sent a large answer has to read it, at some speed: else it would be kept for as long as the client likes.
const (
	largeAnswer    = 64 << 10
	answerTimeout  = 10 * time.Second
	leastPerSecond = 64 << 10 // bytes
)

func newGzip() *gzip.Writer {
	z, _ := gzip.NewWriterLevel(nil, gzip.BestSpeed) // the level is one
	return z
}

// reply is an answer that is whole.
type reply struct {
	status int
	kind   []string    // the value of Content-Type
	header http.Header // further ones
	body   []byte
	choice bool // the client may have another format

	nothing bool // nothing was executed
}

func writeJSON(w http.ResponseWriter, r *http.Request, body []byte) {
	reply{status: http.StatusOK, kind: formatJSON.header(), body: body}.write(w, r)
}

// write answers, compressed if the client likes that. Answers are not for caches, unless they say so.
func (rep reply) write(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	maps.Copy(h, rep.header)
	if h["Cache-Control"] == nil {
		h["Cache-Control"] = noStore
	}
	vary := varyEncoding
	if rep.choice {
		vary = varyFormat
	}
	if have := h["Vary"]; have == nil {
		h["Vary"] = vary
	} else {
		h["Vary"] = append(slices.Clip(have), vary...)
	}
	if len(rep.body) > 0 {
		h["Content-Type"] = rep.kind
		if len(rep.body) >= minGzip && acceptsGzip(r) {
			h["Content-Encoding"] = gzipped
			rep.body = compress(rep.body)
		}
		if len(rep.body) > countedByServer {
			h["Content-Length"] = []string{strconv.Itoa(len(rep.body))}
		}
	}
	if len(rep.body) > largeAnswer {
		patience := answerTimeout + time.Duration(len(rep.body)/leastPerSecond)*time.Second
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience)) // of this answer alone
	}
	w.WriteHeader(rep.status)
	_, _ = w.Write(rep.body)
}

// noContent answers that there is nothing. Caches would keep even that.
func noContent(w http.ResponseWriter) {
	w.Header()["Cache-Control"] = noStore
	w.WriteHeader(http.StatusNoContent)
}

func compress(body []byte) []byte {
	var b bytes.Buffer
	b.Grow(len(body) / 2)
	z, _ := gzipWriters.Get().(*gzip.Writer)
	defer gzipWriters.Put(z)
	z.Reset(&b)
	_, _ = z.Write(body) // a Buffer takes everything
	_ = z.Close()
	return b.Bytes()
}

// acceptsGzip reports whether the client asks for gzip. [RFC 9110 12.5.3]
func acceptsGzip(r *http.Request) bool {
	weight, closest := 0, 0
	for _, value := range r.Header["Accept-Encoding"] {
		for part := range splitQuoted(value, ',') {
			m, ok := parseRange(part)
			switch {
			case !ok:
			case strings.EqualFold(m.name, "gzip"):
				weight, closest = m.q, 2
			case m.name == "*" && closest < 2:
				weight, closest = m.q, 1
			}
		}
	}
	return weight > 0
}
