package httpapi_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wampgate/wampgate/httpapi"
)

func TestRequestsThatAreTooLargeAreProblems(t *testing.T) {
	f := newFace(t)
	rec := f.do(t, http.MethodGet, "/v1/sessions?after="+strings.Repeat("1", 9000), "")
	if rec.Code != http.StatusRequestURITooLong || !strings.Contains(rec.Header().Get("Content-Type"), "problem+json") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	rec = f.do(t, http.MethodGet, "/v1/sessions", "", "X-Large", strings.Repeat("x", 40_000))
	if rec.Code != http.StatusRequestHeaderFieldsTooLarge || !strings.Contains(rec.Header().Get("Content-Type"), "problem+json") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestBodyThatSaysThatItIsTooLargeIsNotWaitedFor(t *testing.T) {
	srv := httptest.NewServer(newFace(t).handler)
	defer srv.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprint(conn, "POST /v1/call/p HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\nExpect: 100-continue\r\n\r\n")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestEntityTooLarge || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d %v", res.StatusCode, res.Header)
	}
}

func TestBodyThatDoesNotComeIsATimeout(t *testing.T) {
	f := newFace(t)
	handler, err := httpapi.New(httpapi.Config{Bridge: f.bridge, Realm: "realm1", BodyTimeout: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(handler)
	defer srv.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_, _ = fmt.Fprint(conn, "POST /v1/call/p HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestTimeout || !res.Close || res.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %d, close %t, %v", res.StatusCode, res.Close, res.Header)
	}
}

func TestBodyThatNobodyReadsDoesNotHoldTheConnection(t *testing.T) {
	f := newFace(t)
	srv := httptest.NewServer(f.handler)
	defer srv.Close()
	for _, request := range []string{
		"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4000\r\n\r\n",
		"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n",
		"POST /v1/call/p HTTP/1.1\r\nHost: elsewhere.example\r\nContent-Length: 4000\r\n\r\n",
	} {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, request); err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%.20q holds the connection", request)
		}
		_ = conn.Close()
	}
}

// timedWriter notes until when an answer has to be read.
type timedWriter struct {
	*httptest.ResponseRecorder

	deadline time.Time
}

func (w *timedWriter) SetWriteDeadline(t time.Time) error {
	w.deadline = t
	return nil
}

func TestLargeAnswersAreNotKeptForThoseWhoDoNotReadThem(t *testing.T) {
	f := newFace(t)
	for path, large := range map[string]bool{"/openapi.json": true, "/v1/sessions": false} {
		w := &timedWriter{ResponseRecorder: httptest.NewRecorder()}
		r := httptest.NewRequest(http.MethodGet, path, http.NoBody)
		r.Host = "localhost"
		f.handler.ServeHTTP(w, r)
		if w.Code != http.StatusOK || w.deadline.IsZero() == large || time.Until(w.deadline) > time.Minute {
			t.Errorf("%s: %d, %d octets within %s", path, w.Code, w.Body.Len(), time.Until(w.deadline))
		}
	}
}
