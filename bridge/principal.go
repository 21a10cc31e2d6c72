package bridge

import "github.com/wampgate/wampgate/wampcore"

// Principal is who asks, in a realm. All its calls and publications are made by one session, which has this identity; principals
// that are equal are the same. Without AuthID and AuthRole it is anonymous, and the router names it.
type Principal struct {
	Realm    wampcore.URI
	AuthID   string
	AuthRole string
	Method   string // how it was authenticated
	Provider string // by whom
}
