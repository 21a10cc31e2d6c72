//go:build unix

package transport

import (
	"net"
	"path/filepath"
	"testing"
)

func TestSocketsBelowAreUsedDirectly(t *testing.T) {
	for _, address := range []string{"127.0.0.1:0", "unix:" + filepath.Join(t.TempDir(), "s")} {
		l, err := Listen(t.Context(), address, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		web, raw := Split(Limit(l, 0, 0))
		serveNothing(t, web)
		t.Cleanup(func() { _ = raw.Close() })
		peer, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = peer.Close() })
		if _, err := peer.Write([]byte("\x7f\xf1\x00\x00")); err != nil {
			t.Fatal(err)
		}
		if c := nextRaw(t, raw); c.Transport.(*rawSocket).conn.raw == nil {
			t.Errorf("%s: RawSocket goes another way", address)
		}
	}
	sniffing := &sniffed{passing: passing{Conn: &counted{quietConn: quietConn{Conn: new(net.TCPConn)}}}}
	if !isSocket(sniffing) {
		t.Error("WebSocket goes another way")
	}
}
