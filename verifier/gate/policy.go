package gate

import (
	"fmt"
	"strings"
)

// DefaultPolicy is the name of the policy of /verify.
const DefaultPolicy = "default"

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
//
// Commas and spaces separate.
func ParsePolicy(text string) (name string, p Policy, err error) {
	name, requirements, ok := strings.Cut(text, "=")
	if !ok || !isName(name) {
		return "", p, fmt.Errorf("policy %q is not NAME=REQUIREMENTS with a name of A-Z a-z 0-9 _ -", text)
	}
	for _, requirement := range strings.FieldsFunc(requirements, func(r rune) bool { return r == ',' || r == ' ' }) {
		kind, value, _ := strings.Cut(requirement, ":")
		switch {
		case value != "" && kind == "scope":
			p.Scopes = append(p.Scopes, value)
		case value != "" && kind == "audience" && p.Audience == "":
			p.Audience = value
		default:
			return "", p, fmt.Errorf("policy %s: %q is not scope:VALUE or, once, audience:VALUE", name, requirement)
		}
	}
	return name, p, nil
}

// isName checks the name of a policy: it stands in paths as it is.
func isName(s string) bool {
	return s != "" && len(s) <= maxName && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}
