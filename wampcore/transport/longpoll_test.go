package transport_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/transport"
)

// pollServer is a long-poll server whose transports the test has.
type pollServer struct {
	*transport.LongPoll

	accepted chan *transport.Conn
}

func servePolls(tb testing.TB, cfg transport.Config, total int) *pollServer {
	tb.Helper()
	s := &pollServer{accepted: make(chan *transport.Conn, 100)}
	s.LongPoll = transport.NewLongPoll(cfg, total, 0, func(c *transport.Conn, _ *http.Request) { s.accepted <- c })
	return s
}

// post does a request, without a network.
func (s *pollServer) post(tb testing.TB, path string, body []byte) (int, []byte) {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, "/longpoll/"+path, bytes.NewReader(body))
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.Bytes()
}

// open opens a transport and returns its path and the other end of it.
func (s *pollServer) open(tb testing.TB, protocol string) (string, *transport.Conn) {
	tb.Helper()
	status, body := s.post(tb, "open?x=1", fmt.Appendf(nil, `{"protocols":["wamp.2.flatbuffers",%q]}`, protocol))
	var answer struct{ Protocol, Transport string }
	if err := json.Unmarshal(body, &answer); err != nil || status != http.StatusOK || answer.Protocol != protocol || len(answer.Transport) < 20 {
		tb.Fatalf("got %d, %q, %v", status, body, err)
	}
	c := <-s.accepted
	tb.Cleanup(func() { _ = c.Close(0) })
	return answer.Transport, c
}

func TestLongPollCarriesMessagesBothWays(t *testing.T) {
	for _, e := range encodings {
		for _, batched := range []bool{false, true} {
			name := "wamp.2." + e.String()
			packed := func(ms ...[]byte) []byte { return bytes.Join(ms, nil) }
			if batched {
				name += ".batched"
				packed = func(ms ...[]byte) []byte { return pack(e, 0x1e, ms...) }
			}
			t.Run(name, func(t *testing.T) {
				s := servePolls(t, transport.Config{}, 0)
				path, c := s.open(t, name)
				m := encoded(e, event(500))
				sent := [][]byte{m}
				if batched {
					sent = append(sent, m)
				}
				status := make(chan int)
				go func() {
					code, _ := s.post(t, path+"/send?x=2", packed(sent...))
					status <- code
				}()
				for i := range sent {
					if got := receive(t, c, e); !bytes.Equal(got, m) {
						t.Errorf("got %q", got)
					}
					if c.Ready() != (i+1 < len(sent)) {
						t.Errorf("Ready is %v after message %d", c.Ready(), i)
					}
				}
				if got := <-status; got != http.StatusNoContent {
					t.Errorf("send: got %d", got)
				}

				done := make(chan struct{})
				go func() {
					defer close(done)
					write(t, c, event(500), event(500))
				}()
				var got []byte
				for want := packed(m, m); len(got) < len(want); {
					code, body := s.post(t, path+"/receive", nil)
					if code != http.StatusOK || !batched && !bytes.Equal(body, m) {
						t.Fatalf("got %d, %q", code, body)
					}
					got = append(got, body...)
				}
				if !bytes.Equal(got, packed(m, m)) {
					t.Errorf("got %q", got)
				}
				<-done
				if code, _ := s.post(t, path+"/close", nil); code != http.StatusNoContent {
					t.Errorf("close: got %d", code)
				}
				if _, err := c.Receive(); !errors.Is(err, io.EOF) {
					t.Errorf("got %v after the peer closed", err)
				}
				if code, _ := s.post(t, path+"/receive", nil); code != http.StatusNotFound {
					t.Errorf("after close: got %d", code)
				}
			})
		}
	}
}

func TestLongPollRequestsThatCannotBeAreRefused(t *testing.T) {
	s := servePolls(t, transport.Config{MaxMessage: 1000}, 3)
	for body, want := range map[string]int{
		``: 400, `{}`: 400, `[]`: 400, `{"protocols":[]}`: 400, `{"protocols":["wamp.2.ubjson"]}`: 400, `{"protocols":"wamp.2.json"}`: 400,
		`{"protocols":["` + strings.Repeat("x", 5000) + `"]}`: 400,
	} {
		if status, _ := s.post(t, "open", []byte(body)); status != want {
			t.Errorf("open with %.30q: got %d, want %d", body, status, want)
		}
	}
	path, c := s.open(t, "wamp.2.json")
	other, large := s.open(t, "wamp.2.json.batched")
	_, _ = s.open(t, "wamp.2.cbor")
	if status, _ := s.post(t, "open", []byte(`{"protocols":["wamp.2.json"]}`)); status != http.StatusServiceUnavailable {
		t.Errorf("one too many: got %d", status)
	}
	for path, want := range map[string]int{"": 404, "nobody/receive": 404, "nobody/send": 404, path: 404, path + "/x": 404} {
		if status, _ := s.post(t, path, nil); status != want {
			t.Errorf("%q: got %d, want %d", path, status, want)
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/longpoll/open", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: got %d", w.Code)
	}
	received := make(chan error)
	go func() {
		_, err := c.Receive()
		received <- err
	}()
	if status, body := s.post(t, path+"/send", []byte(`{"no":"message"}`)); status != http.StatusBadRequest {
		t.Errorf("no message: got %d, %q", status, body)
	}
	if _, ok := errors.AsType[*wampcore.ProtocolError](<-received); !ok {
		t.Error("what is no message is no violation")
	}
	if status, _ := s.post(t, other+"/send", make([]byte, 1001)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: got %d", status)
	}
	if _, err := large.Receive(); err == nil {
		t.Error("the transport goes on though a message was lost")
	}
	if status, _ := s.post(t, "open", []byte(`{"protocols":["wamp.2.json"]}`)); status != http.StatusOK {
		t.Errorf("a closed transport still counts: got %d", status)
	}
	_ = (<-s.accepted).Close(0)
}

func TestLongPollReceiveEndsEmptyAfterAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePolls(t, transport.Config{}, 0)
		path, c := s.open(t, "wamp.2.json")
		began := time.Now()
		if status, _ := s.post(t, path+"/receive", nil); status != http.StatusNoContent || time.Since(began) != 10*time.Second {
			t.Errorf("got %d after %s", status, time.Since(began))
		}
		if _, err := c.Receive(); err == nil || time.Since(began) != 40*time.Second {
			t.Errorf("got %v after %s; a peer that does not ask any more is gone", err, time.Since(began))
		}
	})
}

func TestLongPollReceiveGivesWayToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePolls(t, transport.Config{}, 0)
		path, c := s.open(t, "wamp.2.json")
		first, second := make(chan int, 1), make(chan int, 1)
		go func() { status, _ := s.post(t, path+"/receive", nil); first <- status }()
		synctest.Wait()
		go func() { status, _ := s.post(t, path+"/receive", nil); second <- status }()
		if got := <-first; got != http.StatusNoContent {
			t.Errorf("the first got %d", got)
		}
		write(t, c, event(10))
		if got := <-second; got != http.StatusOK {
			t.Errorf("the second got %d", got)
		}
	})
}

func TestLongPollTransportEndsFromEitherSide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := servePolls(t, transport.Config{}, 0)
		path, c := s.open(t, "wamp.2.json")
		status := make(chan int, 2)
		go func() { code, _ := s.post(t, path+"/receive", nil); status <- code }()
		go func() { code, _ := s.post(t, path+"/send", encoded(wampcore.JSON, event(10))); status <- code }()
		synctest.Wait()
		c.Interrupt()
		if _, err := c.Receive(); !errors.Is(err, wampcore.ErrInterrupted) {
			// the message may have been taken before
			if _, err := c.Receive(); !errors.Is(err, wampcore.ErrInterrupted) {
				t.Errorf("got %v", err)
			}
		}
		flushed := make(chan error, 1)
		go func() {
			_, _ = c.Write([]wampcore.Message{event(1), event(2)})
			flushed <- c.Flush()
		}()
		synctest.Wait()
		_ = c.Close(0)
		if err := <-flushed; err == nil {
			t.Error("Flush says that all is on its way")
		}
		_, _ = <-status, <-status
	})
}

func TestLongPollMessageThatIsLostEndsTheTransport(t *testing.T) {
	s := servePolls(t, transport.Config{}, 0)
	path, c := s.open(t, "wamp.2.json")
	go func() { _, _ = c.Write([]wampcore.Message{event(1)}) }()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/longpoll/"+path+"/receive", nil)
	s.ServeHTTP(&broken{httptest.NewRecorder()}, r)
	if _, err := c.Receive(); err == nil {
		t.Error("the transport goes on")
	}
}

func TestLongPollBodyThatIsNoMessageIsSaidSoThoughTheTransportEndsByIt(t *testing.T) {
	s := servePolls(t, transport.Config{}, 0)
	for range 100 { // the answer and the end race
		path, c := s.open(t, "wamp.2.json")
		go func() {
			_, _ = c.Receive()
			_ = c.Close(0)
		}()
		if status, _ := s.post(t, path+"/send", []byte(`{"no":"message"}`)); status != http.StatusBadRequest {
			t.Fatalf("got %d", status)
		}
	}
}

// broken is a client that is gone.
type broken struct{ *httptest.ResponseRecorder }

func (*broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzLongPollBodies(f *testing.F) {
	m := encoded(wampcore.MessagePack, event(10))
	f.Add([]byte(`{"protocols":["wamp.2.msgpack.batched"]}`), pack(wampcore.MessagePack, 0, m, m))
	f.Add([]byte(`{"protocols":["wamp.2.json"]}`), encoded(wampcore.JSON, event(10)))
	f.Add([]byte(`{"protocols":`), []byte{0})
	f.Fuzz(func(t *testing.T, open, body []byte) {
		s := servePolls(t, transport.Config{MaxMessage: 1000}, 0)
		status, answer := s.post(t, "open", open)
		if status != http.StatusOK {
			return
		}
		var opened struct{ Transport string }
		if err := json.Unmarshal(answer, &opened); err != nil {
			t.Fatal(err)
		}
		c := <-s.accepted
		done := make(chan struct{})
		go func() {
			defer close(done)
			for n := 0; ; n++ {
				if _, err := c.Receive(); err != nil {
					_ = c.Close(0)
					return
				}
				if n > len(body) {
					t.Error("more messages than bytes")
				}
			}
		}()
		status, _ = s.post(t, opened.Transport+"/send", body)
		if status != http.StatusNoContent && status != http.StatusBadRequest && status != http.StatusRequestEntityTooLarge {
			t.Errorf("send: got %d", status)
		}
		_, _ = s.post(t, opened.Transport+"/close", nil)
		<-done
	})
}
