package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"sync"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

// Cursors makes the cursors of lists, and knows them again: nobody else can make one, and each is for the caller that got it. All nodes of a
// platform know each other's, since the next page may be asked of another one. A cursor ends after some minutes.
type Cursors interface {
	// Seal returns a cursor for a caller. The error tests as [ErrUndecided] if none can be made now.
	Seal(caller events.Name, position string) (string, error)
	// Open returns the position of a cursor that was made for the caller. An error that does not test as [ErrUndecided] says
	// that it is not one.
	Open(caller events.Name, cursor string) (position string, err error)
}

type clientList struct {
	Clients    []*clientResource `json:"clients"`
	Pagination pagination        `json:"pagination"`
}

type pagination struct {
	Next *nextPage `json:"next,omitempty"` // nil: there is none
}

type nextPage struct {
	Cursor string `json:"cursor"`
}

func (a *API) serveListClients(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, "client list", registry.ScopeClientsRead, func(ctx context.Context, req *request) (*answer, error) {
		limit, cursor, err := readPage(r.URL.Query())
		if err != nil {
			return nil, err
		}
		return a.listClients(ctx, req.caller.Authority.Client, limit, cursor)
	})
}

// readPage reads the parameters of a list.
func readPage(query url.Values) (limit int, cursor string, err error) {
	if len(query["limit"]) > 1 || len(query["cursor"]) > 1 {
		return 0, "", invalidRequest("limit or cursor was sent more than once")
	}
	limit = defaultPage
	if text := query.Get("limit"); text != "" {
		limit, err = strconv.Atoi(text)
		if errors.Is(err, strconv.ErrRange) && text[0] != '-' {
			limit, err = maxPage, nil
		}
		if err != nil || limit < 1 {
			return 0, "", invalidRequest(fmt.Sprintf("limit is not a number from 1 to %d", maxPage))
		}
	}
	return min(limit, maxPage), query.Get("cursor"), nil
}

func (a *API) listClients(ctx context.Context, caller events.Name, limit int, cursor string) (*answer, error) {
	after, err := a.position(caller, cursor)
	if err != nil {
		return nil, err
	}
	page, more, err := a.reg.ActiveClients(ctx, after, limit)
	if err != nil {
		return nil, err
	}
	profiles, err := a.profiles(ctx, page)
	if err != nil {
		return nil, err
	}
	list := clientList{Clients: []*clientResource{}}
	for i, entry := range page {
		list.Clients = append(list.Clients, a.resource(entry, &profiles[i]))
	}
	if more {
		next, err := a.cfg.Cursors.Seal(caller, string(page[len(page)-1].Name))
		if err != nil {
			return nil, err
		}
		list.Pagination.Next = &nextPage{next}
	}
	return &answer{status: http.StatusOK, body: list}, nil
}

// position is the name after which a page begins.
func (a *API) position(caller events.Name, cursor string) (events.Name, error) {
	if cursor == "" {
		return "", nil
	}
	invalid := newProblem(http.StatusBadRequest, "invalid-cursor", "The cursor is not valid", "it is not one that this caller got in the last minutes: begin again without one")
	if len(cursor) > maxCursor {
		return "", invalid
	}
	position, err := a.cfg.Cursors.Open(caller, cursor)
	if errors.Is(err, ErrUndecided) {
		return "", err
	}
	name, bad := events.ParseName(position)
	if err = errors.Join(err, bad); err != nil {
		invalid.reason = err.Error()
		return "", invalid
	}
	return name, nil
}

// profiles reads how the clients of a page are described, a few at a time.
func (a *API) profiles(ctx context.Context, page []*events.IssuerEntry) ([]events.Profile, error) {
	profiles, errs := make([]events.Profile, len(page)), make([]error, len(page))
	var readers sync.WaitGroup
	for first := range min(profileReaders, len(page)) {
		readers.Go(func() {
			for i := first; i < len(page); i += profileReaders {
				if profiles[i], errs[i] = a.reg.Profile(ctx, page[i].Name); errs[i] != nil {
					return
				}
			}
		})
	}
	readers.Wait()
	return profiles, errors.Join(errs...)
}
