package router

import (
	"strings"
	"testing"

	"github.com/wampgate/wampgate/wampcore"
)

// benchSession is a session whose connection only queues.
func benchSession(b *testing.B, r *Router, e wampcore.Encoding) *session {
	b.Helper()
	s := &session{
		conn: newConn(r, nil, Peer{Encoding: e}), realm: r.realms["realm1"], id: wampcore.NewID(),
		roles: wampcore.NewRoles(wampcore.RoleCaller, wampcore.RoleCallee),
	}
	s.realm.sessions[s.id] = s
	rules := s.rulesOf(s.realm.policy.Load())
	if err := s.realm.enroll(s, rules); err != nil {
		b.Fatal(err)
	}
	s.rules.Store(rules)
	return s
}

// drain encodes what is queued for s, as its connection would.
func (s *session) drain(out []byte) []byte {
	for ms := s.conn.out.begin(); len(ms) > 0; ms = s.conn.out.next() {
		for _, m := range ms {
			out = wampcore.Append(out, s.conn.peer.Encoding, m)
			wampcore.Recycle(m)
		}
	}
	return out
}

// BenchmarkCallRouted is the way of a CALL from its bytes to those of its INVOCATION, without the network: decoded, routed
// through the realm, queued, encoded; and forgotten again.
func BenchmarkCallRouted(b *testing.B) {
	object := `{"id":1234,"name":"something","price":12.5,"tags":["a","b"],"ok":true},`
	for name, args := range map[string]string{
		"16 B":  `["0123456789ab"]`,
		"1 KiB": `[` + strings.TrimSuffix(strings.Repeat(object, 1024/len(object)), ",") + `]`,
	} {
		for e := wampcore.JSON; e <= wampcore.CBOR; e++ {
			b.Run(name+" "+e.String(), func(b *testing.B) {
				fast := Limits{Rate: 1e9} // measured, but not reached
				r, err := New(Config{Realms: []RealmConfig{{Name: "realm1", Roles: map[string]Role{
					"": {Permissions: everything.Permissions, Limits: fast, Principal: fast},
				}}}})
				if err != nil {
					b.Fatal(err)
				}
				caller, callee := benchSession(b, r, e), benchSession(b, r, e)
				var touched batch
				if err := callee.route(&touched, &wampcore.Register{Request: 1, Procedure: "com.example.procedure"}); err != nil {
					b.Fatal(err)
				}
				out := callee.drain(nil)
				message := `[48,7814135,{},"com.example.procedure",` + args + `]`
				frame := wampcore.Payload{Encoding: wampcore.JSON, Args: []byte(message)}.Transcode(e).Args
				var d wampcore.Decoder
				b.ReportAllocs()
				for b.Loop() {
					m, err := d.Decode(e, frame)
					if err != nil {
						b.Fatal(err)
					}
					if err := caller.route(&touched, m); err != nil {
						b.Fatal(err)
					}
					touched.touched = touched.touched[:0]
					if out = callee.drain(out[:0]); len(out) == 0 {
						b.Fatal("nothing was queued")
					}
					inv := caller.calls[7814135]
					caller.realm.dealer.forget(inv)
					caller.realm.dealer.reuse(inv)
				}
			})
		}
	}
}
