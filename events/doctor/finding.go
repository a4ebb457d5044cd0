package doctor

import (
	"fmt"
	"slices"
)

// Level is how bad a finding is.
type Level string

// The levels.
const (
	OK   Level = "ok"
	Warn Level = "warn" // works, and may not go on working; or it is unknown whether it is well
	Fail Level = "FAIL" // unsafe, or does not work
)

// Finding is one thing that was looked at. Its words may have in them what servers say of themselves.
type Finding struct {
	Check   string `json:"check"` // what was looked at: one word
	Level   Level  `json:"level"`
	Unknown bool   `json:"unknown,omitempty"` // it could not be looked at
	Found   string `json:"found"`
	Needed  string `json:"needed,omitempty"` // unless it is well
	ToDo    string `json:"to_do,omitempty"`
}

func (f Finding) String() string {
	s := fmt.Sprintf("%-4s  %-10s  %s", f.Level, f.Check, f.Found)
	if f.Needed != "" {
		s += "; needed: " + f.Needed
	}
	if f.ToDo != "" {
		s += "; to do: " + f.ToDo
	}
	return s
}

func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Level: OK, Found: fmt.Sprintf(format, args...)}
}

func warn(check, found, needed, toDo string) Finding {
	return Finding{Check: check, Level: Warn, Found: found, Needed: needed, ToDo: toDo}
}

func fail(check, found, needed, toDo string) Finding {
	return Finding{Check: check, Level: Fail, Found: found, Needed: needed, ToDo: toDo}
}

// unknown is what could not be looked at, and how it could be.
func unknown(check, found, toDo string) Finding {
	return Finding{Check: check, Level: Warn, Unknown: true, Found: found, Needed: "to know", ToDo: toDo}
}

// Report is all that was found.
type Report struct {
	Server   string    `json:"server"`
	Version  string    `json:"version"`
	Findings []Finding `json:"findings"`
}

// Failed reports whether something is unsafe or does not work.
func (r Report) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Level == Fail })
}

// Unknown reports whether something could not be looked at.
func (r Report) Unknown() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Unknown })
}
