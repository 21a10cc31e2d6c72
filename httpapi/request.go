package httpapi

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/wampgate/wampgate/bridge"
	"github.com/wampgate/wampgate/wampcore"
)

// wanted is what a request's headers and its query say of its body and of its answer.
type wanted struct {
	body   format
	answer choice
	as     bridge.As
	value  bool // the answer is the first result alone
}

// wanted reads how a request is written and how its answer is to be, which is in one of the formats.
func (a *api) wanted(r *http.Request, offers []format) (wanted, error) {
	req := wanted{body: bodyFormat(r)}
	var ok bool
	if req.answer, ok = negotiate(r, req.body, offers); !ok {
		names := make([]string, len(offers))
		for i, f := range offers {
			names[i] = f.header()[0]
		}
		return req, newProblem(http.StatusNotAcceptable, "this gateway answers with "+strings.Join(names, ", "))
	}
	if r.URL.RawQuery == "" {
		return req, nil
	}
	q := r.URL.Query()
	req.as = bridge.As(q.Get("as"))
	switch result := q.Get("result"); result {
	case "":
	case "value":
		req.value = true
	default:
		return req, newProblem(http.StatusBadRequest, "result="+result+" is not known; it is value")
	}
	return req, nil
}

// body reads a body that is a value of one of the encodings. An empty one needs no type.
func (a *api) body(w http.ResponseWriter, r *http.Request, kind format) (wampcore.Raw, error) {
	b, err := a.bytes(w, r)
	if err != nil || len(b) == 0 {
		return wampcore.Raw{}, err
	}
	if kind < formatJSON || kind > formatCBOR {
		return wampcore.Raw{}, unsupported("send the body as Content-Type: application/json, application/cbor or application/msgpack; a call may be in parts, as application/jsonl")
	}
	return wampcore.Raw{Encoding: kind.encoding(), Bytes: b}, nil
}

// bytes reads a body of any kind.
func (a *api) bytes(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if r.ContentLength == 0 {
		return nil, nil
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(a.cfg.BodyTimeout)) // not every test's writer has one
	b, err := a.read(w, r)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, errLateBody()
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	return b, err
}

func errLateBody() *problem {
	p := newProblem(http.StatusRequestTimeout, "the body did not come in time")
	p.header = http.Header{"Connection": {"close"}}
	return p
}

func unsupported(detail string) *problem {
	p := newProblem(http.StatusUnsupportedMediaType, detail)
	p.header = http.Header{"Accept-Post": {acceptPost}, "Accept-Encoding": {"gzip"}}
	return p
}

// read returns the body, inflated. Neither form of it may be larger than the sender's limit.
func (a *api) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	most := a.maxBody(r)
	if n := r.ContentLength; n > 0 && n <= most && len(r.Header["Content-Encoding"]) == 0 { // by far the most frequent
		b := make([]byte, n)
		_, err := io.ReadFull(r.Body, b)
		return b, inflater{plain: true}.failed(err)
	}
	if r.ContentLength > most { // it need not even be sent
		return nil, &http.MaxBytesError{Limit: most}
	}
	body, err := a.inflated(http.MaxBytesReader(w, r.Body, most), r)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(body, most+1))
	if int64(len(b)) > most {
		err = &http.MaxBytesError{Limit: most}
	}
	return b, body.failed(err)
}

// inflater reads a body, inflated if it is compressed.
type inflater struct {
	io.Reader

	plain bool
}

// failed tells a body that cannot be read, or whose client hung up, from our own faults.
func (f inflater) failed(err error) error {
	if err == nil {
		return nil
	}
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case tooLarge, errors.Is(err, os.ErrDeadlineExceeded):
		return err
	case f.plain && errors.Is(err, io.ErrUnexpectedEOF):
		return context.Canceled
	default:
		return newProblem(http.StatusBadRequest, "the body cannot be read: "+err.Error())
	}
}

func (a *api) inflated(body io.Reader, r *http.Request) (inflater, error) {
	switch encoding := strings.Join(r.Header["Content-Encoding"], ", "); strings.ToLower(encoding) {
	case "", "identity":
		return inflater{body, true}, nil
	case "gzip", "x-gzip":
		z, err := gzip.NewReader(body)
		if err != nil {
			return inflater{}, inflater{}.failed(err)
		}
		return inflater{z, false}, nil
	default:
		return inflater{}, unsupported("Content-Encoding: " + encoding + " is not known; it is gzip, or none")
	}
}
