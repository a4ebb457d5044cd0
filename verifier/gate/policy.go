package gate

import (
	"fmt"
	"strings"
)

// DefaultPolicy is the name of the policy of /verify.
const DefaultPolicy = "default"

// anyToken is the requirement of a policy that has none.
const anyToken = "any"

// Policy is what a token must have.
type Policy struct {
	// Audience takes the place of the verifier's. Empty: it does not.
	Audience string
	// Scopes are all required. Empty: any token for the audience will do.
	Scopes []string
}

// ParsePolicy reads the text form, such as
//
//	orders=scope:orders:read,scope:orders:write,audience:https://orders
//	status=any
//
// A comma or a space separates. Where no scope is wanted, and no other audience, it says any: a requirement that is empty is an error,
// since it is what becomes of a variable that somebody forgot to set.
func ParsePolicy(text string) (name string, p Policy, err error) {
	name, requirements, ok := strings.Cut(text, "=")
	if !ok || !isName(name) {
		return "", p, fmt.Errorf("policy %q is not NAME=REQUIREMENTS with a name of A-Z a-z 0-9 _ -", text)
	}
	all := false
	for _, requirement := range strings.Split(strings.NewReplacer(", ", ",", " ", ",").Replace(requirements), ",") {
		kind, value, _ := strings.Cut(requirement, ":")
		switch {
		case requirement == "":
			return "", p, fmt.Errorf("policy %s: a requirement is empty: is a variable not set? (any token for the audience will do: %[1]s=any)", name)
		case requirement == anyToken:
			all = true
		case value != "" && kind == "scope":
			p.Scopes = append(p.Scopes, value)
		case value != "" && kind == "audience" && p.Audience == "":
			p.Audience = value
		default:
			return "", p, fmt.Errorf("policy %s: %q is not scope:VALUE, any or, once, audience:VALUE", name, requirement)
		}
	}
	if all && len(p.Scopes) > 0 {
		return "", p, fmt.Errorf("policy %s: it says any, and a scope, too", name)
	}
	return name, p, nil
}

// String is what [ParsePolicy] reads behind the name.
func (p Policy) String() string {
	var requirements []string
	for _, scope := range p.Scopes {
		requirements = append(requirements, "scope:"+scope)
	}
	if p.Audience != "" {
		requirements = append(requirements, "audience:"+p.Audience)
	}
	if len(requirements) == 0 {
		return anyToken
	}
	return strings.Join(requirements, ",")
}

// isName checks the name of a policy: it stands in paths as it is.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}
