package verifier_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// P1, seen in the source: nothing here can wait. A lock, a channel or a goroutine in this package, or a package with which it could do
// I/O, is a mistake; only Connect reaches for the bus.
func TestP1_NothingInThisPackageCanWait(t *testing.T) {
	allowed := []string{
		"crypto/ed25519", "crypto/sha256", "crypto/x509", // to compare what was shown already
		"cmp", "encoding/base64", "encoding/json", "errors", "fmt", "hash/maphash", "math/bits", "math/rand/v2", "runtime", "slices", "strings", "sync/atomic", "time",
		"unsafe",                // for strings over bytes that do not change any more
		"github.com/rs/zerolog", // what it writes to is the caller's choice
		"github.com/keyherald/keyherald/events",
		"github.com/keyherald/keyherald/verifier/jws",
		"github.com/keyherald/keyherald/verifier/keytables", // it makes tables in a goroutine of its own, and nobody waits for it
	}
	onlyToConnect := []string{"context", "github.com/keyherald/keyherald/events/bus", "github.com/keyherald/keyherald/verifier/snapshot"}
	files := 0
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		files++
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Contains(allowed, path) && !(name == "verifier.go" && slices.Contains(onlyToConnect, path)) {
				t.Errorf("%s imports %s", name, path)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.SelectStmt, *ast.SendStmt, *ast.ChanType:
				t.Errorf("%s: %T", set.Position(n.Pos()), n)
			case *ast.UnaryExpr:
				if n.Op == token.ARROW {
					t.Errorf("%s: receives from a channel", set.Position(n.Pos()))
				}
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "time" && slices.Contains([]string{"Sleep", "After", "NewTimer", "NewTicker", "Tick", "AfterFunc"}, n.Sel.Name) {
					t.Errorf("%s: time.%s", set.Position(n.Pos()), n.Sel.Name)
				}
			}
			return true
		})
	}
	if files < 5 {
		t.Fatalf("%d files were looked at", files)
	}
}
