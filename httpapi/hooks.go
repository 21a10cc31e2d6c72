package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/wampgate/wampgate/bridge"
)

// hookProblem says why there is no hook, or may be none.
func hookProblem(err error) error {
	switch {
	case errors.Is(err, bridge.ErrNoHook):
		return newProblem(http.StatusNotFound, err.Error())
	case errors.Is(err, bridge.ErrHookConfigured), errors.Is(err, bridge.ErrHookAnonymous), errors.Is(err, bridge.ErrHookOrphan):
		return newProblem(http.StatusForbidden, err.Error())
	case errors.Is(err, bridge.ErrTooManyHooks):
		return newProblem(http.StatusConflict, err.Error())
	}
	return err
}

// hooks lists the hooks that the request's principal may see.
func (a *api) hooks(w http.ResponseWriter, r *http.Request) error {
	if err := acceptsJSON(r); err != nil {
		return err
	}
	b, err := json.Marshal(map[string]any{"hooks": a.cfg.Hooks.List(a.principal(r))})
	if err != nil {
		return err
	}
	writeJSON(w, r, b)
	return nil
}

// hook tells of one.
func (a *api) hook(w http.ResponseWriter, r *http.Request) error {
	if err := acceptsJSON(r); err != nil {
		return err
	}
	return a.writeHook(w, r, http.StatusOK)
}

func (a *api) writeHook(w http.ResponseWriter, r *http.Request, status int) error {
	name, err := param(r, "name")
	if err != nil {
		return err
	}
	s, err := a.cfg.Hooks.Status(a.principal(r), string(name))
	if err != nil {
		return hookProblem(err)
	}
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	reply{status: status, kind: formatJSON.header(), body: b}.write(w, r)
	return nil
}

// putHook makes a hook, or replaces one.
func (a *api) putHook(w http.ResponseWriter, r *http.Request) error {
	req, err := a.wanted(r, []format{formatJSON})
	if err != nil {
		return err
	}
	name, err := param(r, "name")
	if err != nil {
		return err
	}
	body, err := a.body(w, r, req.body)
	if err != nil {
		return err
	}
	if len(body.Bytes) > 0 && req.body != formatJSON {
		p := newProblem(http.StatusUnsupportedMediaType, "send the hook as Content-Type: application/json")
		p.header = http.Header{"Accept": {"application/json"}}
		return p
	}
	spec, err := bridge.ParseHookSpec(body.Bytes)
	if err != nil {
		return err
	}
	ctx, cancel := a.bounded(r)
	defer cancel()
	created, err := a.cfg.Hooks.Put(ctx, a.principal(r), string(name), spec)
	if err != nil {
		return hookProblem(err)
	}
	if created {
		return a.writeHook(w, r, http.StatusCreated)
	}
	return a.writeHook(w, r, http.StatusOK)
}

// deleteHook ends a hook.
func (a *api) deleteHook(w http.ResponseWriter, r *http.Request) error {
	name, err := param(r, "name")
	if err != nil {
		return err
	}
	ctx, cancel := a.bounded(r)
	defer cancel()
	if err := a.cfg.Hooks.Delete(ctx, a.principal(r), string(name)); err != nil {
		return hookProblem(err)
	}
	noContent(w)
	return nil
}
