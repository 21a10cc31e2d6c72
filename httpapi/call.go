package httpapi

import (
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/wampgate/wampgate/bridge"
)

func (a *api) call(w http.ResponseWriter, r *http.Request) error {
	procedure, err := a.uri(r, "procedure")
	if err != nil {
		return err
	}
	body, err := a.body(w, r)
	if err != nil {
		return err
	}
	req, err := bridge.ParseCall(body, bridge.As(r.URL.Query().Get("as")))
	if err != nil {
		return err
	}
	timeout, err := a.timeout(r)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	payload, err := a.cfg.Bridge.Call(ctx, a.principal(r), procedure, req)
	if err != nil {
		return err
	}
	switch result := r.URL.Query().Get("result"); result {
	case "":
		writeJSON(w, bridge.EncodeResult(payload))
	case "value":
		writeJSON(w, bridge.FirstArg(payload))
	default:
		return newProblem(http.StatusBadRequest, "result="+result+" is not known; it is value")
	}
	return nil
}

func (a *api) publish(w http.ResponseWriter, r *http.Request) error {
	topic, err := a.uri(r, "topic")
	if err != nil {
		return err
	}
	body, err := a.body(w, r)
	if err != nil {
		return err
	}
	req, err := bridge.ParsePublish(body, bridge.As(r.URL.Query().Get("as")))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), a.cfg.CallTimeout)
	defer cancel()
	id, err := a.cfg.Bridge.Publish(ctx, a.principal(r), topic, req)
	if err != nil {
		return err
	}
	if !req.Options.Acknowledge {
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusAccepted)
		return nil
	}
	writeJSON(w, []byte(`{"publication":`+strconv.FormatUint(uint64(id), 10)+`}`))
	return nil
}

func writeJSON(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}

// body reads a JSON body. An empty one needs no type.
func (a *api) body(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	if !accepts(r, "application/json") {
		return nil, newProblem(http.StatusNotAcceptable, "this gateway answers with application/json")
	}
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(a.cfg.BodyTimeout)) // not every test's writer has one
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.cfg.MaxBody))
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p := newProblem(http.StatusRequestTimeout, "the body did not come in time")
		p.header = http.Header{"Connection": {"close"}}
		return nil, p
	}
	_ = rc.SetReadDeadline(time.Time{})
	if err != nil || len(body) == 0 {
		return nil, err
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/json" {
		p := newProblem(http.StatusUnsupportedMediaType, "send the body as Content-Type: application/json")
		p.header = http.Header{"Accept-Post": {"application/json"}}
		return nil, p
	}
	return body, nil
}

// accepts reports whether the Accept header lets kind pass.
func accepts(r *http.Request, kind string) bool {
	header := strings.Join(r.Header.Values("Accept"), ",")
	if header == "" {
		return true
	}
	major, _, _ := strings.Cut(kind, "/")
	for part := range strings.SplitSeq(header, ",") {
		name, params, err := mime.ParseMediaType(part)
		if err != nil || strings.TrimRight(params["q"], "0.") == "" && params["q"] != "" {
			continue
		}
		if name == kind || name == "*/*" || name == major+"/*" {
			return true
		}
	}
	return false
}

// timeout returns the least of the deadlines that the request gives, in one of three headers.
func (a *api) timeout(r *http.Request) (time.Duration, error) {
	least, given := a.cfg.MaxCallTimeout, false
	for _, h := range []struct {
		name  string
		parse func(string) (time.Duration, bool)
	}{{"Wamp-Timeout-Ms", milliseconds}, {"Connect-Timeout-Ms", milliseconds}, {"Grpc-Timeout", grpcTimeout}} {
		value := r.Header.Get(h.name)
		if value == "" {
			continue
		}
		d, ok := h.parse(value)
		if !ok {
			return 0, newProblem(http.StatusBadRequest, h.name+" is not a positive number as it has to be")
		}
		least, given = min(least, d), true
	}
	if !given {
		return min(a.cfg.CallTimeout, a.cfg.MaxCallTimeout), nil
	}
	return least, nil
}

func milliseconds(s string) (time.Duration, bool) { return duration(s, time.Millisecond) }

func duration(s string, unit time.Duration) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return time.Duration(n) * unit, err == nil && n > 0
}

// grpcTimeout reads gRPC's form: digits and a unit.
func grpcTimeout(s string) (time.Duration, bool) {
	units := map[byte]time.Duration{
		'H': time.Hour, 'M': time.Minute, 'S': time.Second, 'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
	}
	unit, ok := units[s[len(s)-1]]
	if !ok || len(s) > 9 {
		return 0, false
	}
	return duration(s[:len(s)-1], unit)
}
