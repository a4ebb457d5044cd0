package doctor

import (
	"context"
	"errors"
	"fmt"
)

// checkRoles looks at what came of trying every call with every credential, on every server.
func checkRoles(f *facts) (found []Finding) {
	for _, n := range f.connected() {
		for _, t := range n.roles {
			found = append(found, t.judge(n.label())...)
		}
	}
	if len(f.cfg.Roles) == 0 {
		found = append(found, unknown("roles", "what each role may do was not tried", "give a credential of each with --check-role"))
	} else if len(f.connected()) == 0 {
		found = append(found, unknown("roles", "nothing was tried: on servers this old it might do harm", "upgrade them"))
	}
	return found
}

// mostCalls is how many calls of one credential are listed on a server. Who may do more may do everything.
const mostCalls = 12

func (t *roleTried) judge(server string) []Finding {
	who := fmt.Sprintf("%s (%s) on %s", t.Role, t.file(), server)
	if t.own {
		who = fmt.Sprintf("doctor's own credential (%s) on %s", t.file(), server)
	}
	if errors.Is(t.err, context.DeadlineExceeded) {
		return []Finding{unknown("roles", fmt.Sprintf("%s: %v", who, t.err), "give it more time with --timeout")}
	}
	if t.err != nil {
		return []Finding{fail("roles", fmt.Sprintf("%s: %v", who, t.err),
			"a credential that works: else a refusal says nothing", "give the right file, or let the server know it")}
	}
	var found []Finding
	for i, call := range t.too {
		if i == mostCalls {
			found = append(found, fail("roles", fmt.Sprintf("%s may do %d other things that it must not", who, len(t.too)-i),
				"to be refused", roleToDo))
			break
		}
		found = append(found, fail("roles", fmt.Sprintf("%s may %s", who, call), "to be refused", roleToDo))
	}
	for i, call := range t.tooFew {
		if t.own || i == mostCalls {
			break // of which role it is, is not known
		}
		found = append(found, fail("roles", fmt.Sprintf("%s may not %s", who, call), "to be allowed: the role needs it", roleToDo))
	}
	names := fmt.Sprintf("tried were names of %d of %d issuers: leave for another single name is not seen", t.issuers, t.ofIssuers)
	switch {
	case len(found) > 0:
	case t.own:
		found = append(found, ok("roles", "%s was refused %d calls of no role (%s)", who, t.refusals, names))
	default:
		found = append(found, ok("roles", "%s may do what it needs, and was refused %d other calls (%s)", who, t.refusals, names))
	}
	return found
}

const (
	rolesCommand = "keyherald nats-config nkeys" // which prints the users of a server's configuration
	roleToDo     = "give the user the permissions of its role (" + rolesCommand + "), and make a new credential in place of one that had more"
)
