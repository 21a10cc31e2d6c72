package e2e

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
)

// stopping is a connection whose reader stops, and goes on.
type stopping struct {
	net.Conn

	goOn *sync.RWMutex // held while the reader has stopped
}

func (c stopping) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b[:min(len(b), 16<<10)])
	c.goOn.RLock()
	defer c.goOn.RUnlock()
	return n, err
}

func TestSlowReaderOverHTTP2HearsOfAGapBeforeWhatIsOld(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("what waits in the system is not bounded here")
	}
	_, base := gateway(t, "WAMPGATE_H2C=true")
	var goOn sync.RWMutex
	const plenty = 64 << 20 // HTTP/2 itself has the gateway wait for nothing
	tr := &http.Transport{
		Protocols: new(http.Protocols), DisableCompression: true,
		HTTP2: &http.HTTP2Config{MaxReceiveBufferPerConnection: plenty, MaxReceiveBufferPerStream: plenty},
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := (&net.Dialer{}).DialContext(ctx, network, address)
			if err == nil {
				err = c.(*net.TCPConn).SetReadBuffer(64 << 10) //nolint:forcetypeassert // it is one
			}
			return stopping{c, &goOn}, err
		},
	}
	tr.Protocols.SetUnencryptedHTTP2(true)
	defer tr.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/v1/subscribe/com.example.flood?slow=drop_oldest", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 1<<20)
	for in.Scan() && !strings.HasPrefix(in.Text(), `data: {"stream"`) {
	}
	goOn.Lock()
	const most = 1 << 20
	body := `{"args":["` + strings.Repeat("x", 64<<10) + `"]}`
	for range 200 { // one after another, so that they are written as they come
		published, err := http.Post(base+"/v1/publish/com.example.flood", "application/json", strings.NewReader(body))
		if err != nil || published.StatusCode != http.StatusOK {
			t.Fatalf("got %+v, %v", published, err)
		}
		_ = published.Body.Close()
	}
	goOn.Unlock()
	got := 0
	for in.Scan() && in.Text() != "event: wamp.gap" {
		got += len(in.Text())
	}
	if in.Err() != nil || got > most {
		t.Errorf("%d bytes were on their way before the reader heard of a gap, want at most %d; %v", got, most, in.Err())
	}
}
