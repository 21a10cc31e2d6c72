package router

import (
	"net/http"

	"github.com/wampgate/wampgate/wampcore/transport"
)

// WebSocket returns a handler that accepts WebSocket peers. A session outlives its request: end sessions with Shutdown.
func (r *Router) WebSocket(cfg transport.Config) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		ws, err := transport.Accept(w, req, cfg)
		if err != nil { // the transport has answered
			r.cfg.Log.Debug().Err(err).Str("peer", req.RemoteAddr).Msg("websocket refused")
			return
		}
		peer := Peer{Transport: "websocket", Encoding: ws.Encoding(), Address: req.RemoteAddr}
		// The session runs on a goroutine of its own, which Shutdown waits for: returning frees net/http's buffers.
		go func() { _ = r.Attach(ws, peer) }()
	})
}
