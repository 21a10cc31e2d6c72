package bridge

import (
	"github.com/wampgate/wampgate/wampcore"
	"github.com/wampgate/wampgate/wampcore/auth"
	"github.com/wampgate/wampgate/wampcore/client"
)

// Principal is who asks, in a realm. All its calls and publications are made by one session, which has this identity; principals
// that are equal are the same. Without AuthID and AuthRole it is anonymous, and the router names it.
type Principal struct {
	Realm    wampcore.URI
	AuthID   string
	AuthRole string
	Method   string // how it was authenticated
	Provider string // by whom
}

// Login is whom a router elsewhere knows the gateway as: it is one and the same there, whoever asks here.
type Login struct {
	AuthID  string
	Methods []auth.Method
}

const agent = "wampgate-http"

// session is how a session is opened for a principal.
func (l Login) session(p Principal) client.Config {
	return client.Config{Realm: p.Realm, Agent: agent, AuthID: l.AuthID, Auth: l.Methods}
}
