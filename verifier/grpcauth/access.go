package grpcauth

import (
	"fmt"
	"strings"
	"unicode"
)

// Access says who may call a method. The zero value is: nobody.
type Access struct {
	open   bool
	token  bool
	scopes []string // all of them
}

// Open is for methods that need no token, such as those of health and reflection services. If there is one, it is not looked at.
func Open() Access { return Access{open: true} }

// Require asks for a valid token with all the scopes. Without any, every valid token for the audience will do.
func Require(scopes ...string) Access { return Access{token: true, scopes: scopes} }

// validateMethod checks a key of [Config.Methods]. One that is written wrongly would match nothing.
func validateMethod(name string) error {
	service, _, ok := strings.Cut(strings.TrimPrefix(name, "/"), "/")
	if !ok || !strings.HasPrefix(name, "/") || service == "" || strings.Count(name, "/") != 2 || strings.Contains(name, "*") || strings.ContainsFunc(name, unicode.IsSpace) {
		return fmt.Errorf("%q is not the full name of a method, /package.Service/Method, or of all those of a service, /package.Service/", name)
	}
	return nil
}

// accessTo finds what is said of a method or, if nothing is, of all those of its service.
func (g *Guard) accessTo(method string) Access {
	access, ok := g.cfg.Methods[method]
	if !ok {
		access = g.cfg.Methods[method[:strings.LastIndexByte(method, '/')+1]]
	}
	return access
}
