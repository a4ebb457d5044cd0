package keytables_test

import (
	"crypto/ed25519"
	"crypto/fips140"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/keyherald/keyherald/verifier/ed25519fast"
	"github.com/keyherald/keyherald/verifier/keytables"
)

// enough signatures for a table.
const enough = 8

var message = []byte("the message")

// signer is a key with a signature of message.
type signer struct {
	public    ed25519.PublicKey
	signature []byte
}

func newSigner(n int) signer {
	seed := sha256.Sum256(fmt.Append(nil, "test key ", n))
	private := ed25519.NewKeyFromSeed(seed[:])
	return signer{private.Public().(ed25519.PublicKey), ed25519.Sign(private, message)}
}

// use has s verify so many signatures, one of which may start a table, and waits for it.
func use(t *testing.T, tables *keytables.Tables, s signer, times int) {
	t.Helper()
	for range times {
		if !tables.Verify(s.public, message, s.signature) {
			t.Fatal("a good signature is refused")
		}
		synctest.Wait()
	}
}

func count(tables *keytables.Tables) int { n, _, _ := tables.Stats(); return n }

func TestAKeyGetsATableWhenItHasVerifiedSeveralSignatures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tables := keytables.New(1 << 20)
		s, another := newSigner(1), newSigner(2)
		use(t, tables, s, enough-1)
		use(t, tables, another, 1)
		if n := count(tables); n != 0 {
			t.Fatalf("%d tables after %d signatures", n, enough-1)
		}
		use(t, tables, s, 1)
		if n := count(tables); n != 1 {
			t.Fatalf("%d tables after %d signatures", n, enough)
		}
		use(t, tables, s, 3*enough)
		n, memory, built := tables.Stats()
		if n != 1 || memory != ed25519fast.TableSize || built != 1 {
			t.Errorf("%d tables of %d bytes, %d built", n, memory, built)
		}
	})
}

func TestSignaturesThatDoNotVerifyAreNoReasonForATable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tables := keytables.New(1 << 20)
		s := newSigner(1)
		for range 10 * enough {
			if tables.Verify(s.public, []byte("another message"), s.signature) {
				t.Fatal("accepted")
			}
			synctest.Wait()
		}
		if n := count(tables); n != 0 {
			t.Errorf("%d tables", n)
		}
	})
}

func TestATableDecidesAsTheStandardLibraryDoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tables := keytables.New(1 << 20)
		s, another := newSigner(1), newSigner(2)
		flipped := append([]byte(nil), s.signature...)
		flipped[40] ^= 1
		check := func() {
			for _, row := range []struct {
				message, signature []byte
			}{{message, s.signature}, {message, flipped}, {nil, s.signature}, {message, nil}, {message, another.signature}, {message, s.signature[:63]}} {
				if got, want := tables.Verify(s.public, row.message, row.signature), ed25519.Verify(s.public, row.message, row.signature); got != want {
					t.Errorf("%v, want %v", got, want)
				}
			}
		}
		check()
		use(t, tables, s, enough)
		if count(tables) != 1 {
			t.Fatal("no table")
		}
		check()
	})
}

func TestTablesStayWithinTheirMemoryAndTheLeastUsedMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tables := keytables.New(3*ed25519fast.TableSize + ed25519fast.TableSize/2)
		var signers []signer
		for n := range 4 {
			signers = append(signers, newSigner(n))
		}
		for _, s := range signers {
			use(t, tables, s, enough)
			time.Sleep(time.Second)
		}
		if n, _, built := tables.Stats(); n != 3 || built != 3 {
			t.Fatalf("%d tables, %d built: a table in use was given up", n, built)
		}
		// All idle but the first: the second is the least recently used.
		time.Sleep(11 * time.Second)
		use(t, tables, signers[0], 1)
		use(t, tables, signers[3], enough)
		n, memory, built := tables.Stats()
		if n != 3 || built != 4 || memory > 3*ed25519fast.TableSize {
			t.Fatalf("%d tables of %d bytes, %d built", n, memory, built)
		}
		// Who lost its table earns another one when there is one to give up; the others still have theirs.
		use(t, tables, signers[0], 3*enough)
		use(t, tables, signers[2], 3*enough)
		use(t, tables, signers[3], 3*enough)
		if _, _, built := tables.Stats(); built != 4 {
			t.Fatalf("%d built: a key that was used more recently than another has lost its table", built)
		}
		time.Sleep(11 * time.Second)
		use(t, tables, signers[1], enough)
		if n, _, built := tables.Stats(); n != 3 || built != 5 {
			t.Fatalf("%d tables, %d built", n, built)
		}
	})
}

func TestWithoutMemoryThereAreNoTables(t *testing.T) {
	for _, memory := range []int64{-1, 0, ed25519fast.TableSize - 1} {
		synctest.Test(t, func(t *testing.T) {
			tables := keytables.New(memory)
			use(t, tables, newSigner(1), 5*enough)
			if n := count(tables); n != 0 {
				t.Errorf("%d tables in %d bytes", n, memory)
			}
		})
	}
}

func TestAfterCloseNoTablesAreMadeAndThoseThereAreStay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tables := keytables.New(1 << 20)
		use(t, tables, newSigner(1), enough)
		tables.Close()
		tables.Close()
		use(t, tables, newSigner(2), 5*enough)
		use(t, tables, newSigner(1), 1)
		if n := count(tables); n != 1 {
			t.Errorf("%d tables", n)
		}
	})
}

func TestManyMayVerifyWhileTablesComeAndGo(t *testing.T) {
	tables := keytables.New(4 * ed25519fast.TableSize)
	defer tables.Close()
	var signers []signer
	for n := range 12 {
		signers = append(signers, newSigner(n))
	}
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 400 {
				s, other := signers[(i/20+worker)%len(signers)], signers[i%len(signers)]
				if !tables.Verify(s.public, message, s.signature) {
					t.Error("a good signature is refused")
				}
				if good := &s.public[0] == &other.public[0]; tables.Verify(s.public, message, other.signature) != good {
					t.Error("another key's signature is accepted")
				}
			}
		})
	}
	group.Wait()
	if n, memory, built := tables.Stats(); n > 4 || memory > 4*ed25519fast.TableSize || built == 0 {
		t.Errorf("%d tables of %d bytes, %d built", n, memory, built)
	}
}

// Under FIPS 140 all is done by the validated module. It can be switched on for a whole process only.
func TestUnderFIPS140ThereAreNoTables(t *testing.T) {
	const inside = "KEYHERALD_TEST_FIPS"
	if os.Getenv(inside) == "" {
		cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), "GODEBUG=fips140=on", inside+"=1")
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	if !fips140.Enabled() {
		t.Fatal("FIPS 140 is not enabled: this test shows nothing")
	}
	tables := keytables.New(1 << 20)
	s := newSigner(1)
	for range 10 * enough {
		if !tables.Verify(s.public, message, s.signature) {
			t.Fatal("a good signature is refused")
		}
		runtime.Gosched()
	}
	tables.Close()
	if n := count(tables); n != 0 {
		t.Errorf("%d tables", n)
	}
}
