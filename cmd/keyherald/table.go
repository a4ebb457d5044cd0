package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// table prints columns for people.
type table struct{ w *tabwriter.Writer }

func newTable(w io.Writer, columns ...string) table {
	t := table{tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)}
	t.row(columns...)
	return t
}

func (t table) row(cells ...string) { fmt.Fprintln(t.w, strings.Join(cells, "\t")) }

func (t table) flush() error { return t.w.Flush() }

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}
