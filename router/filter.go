package router

import (
	"slices"

	"github.com/wampgate/wampgate/wampcore"
)

// filter says who may get a publication: publisher exclusion and the black and white lists. All that are given have to
// agree; an eligible list that is empty means nobody.
type filter struct {
	publisher *session // excluded; nil if it is not
	opts      *wampcore.PublishOptions
	lists     bool // any is given
}

func newFilter(publisher *session, opts *wampcore.PublishOptions) filter {
	f := filter{publisher: publisher, opts: opts}
	if opts.IncludeMe {
		f.publisher = nil
	}
	f.lists = opts.Exclude != nil || opts.ExcludeAuthID != nil || opts.ExcludeAuthRole != nil ||
		opts.Eligible != nil || opts.EligibleAuthID != nil || opts.EligibleAuthRole != nil
	return f
}

func (f *filter) eligible(s *session) bool {
	if s == f.publisher {
		return false
	}
	if !f.lists {
		return true
	}
	o := f.opts
	return !slices.Contains(o.Exclude, s.id) &&
		!slices.Contains(o.ExcludeAuthID, s.authID) &&
		!slices.Contains(o.ExcludeAuthRole, s.authRole) &&
		(o.Eligible == nil || slices.Contains(o.Eligible, s.id)) &&
		(o.EligibleAuthID == nil || slices.Contains(o.EligibleAuthID, s.authID)) &&
		(o.EligibleAuthRole == nil || slices.Contains(o.EligibleAuthRole, s.authRole))
}
