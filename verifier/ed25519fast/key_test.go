package ed25519fast

import (
	"bytes"
	"crypto/ed25519"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// example is a key and a signature by it.
func example(t testing.TB, seed byte) (*Key, signed) {
	t.Helper()
	r := random(seed)
	private := ed25519.NewKeyFromSeed(randomBytes(r, ed25519.SeedSize))
	public := private.Public().(ed25519.PublicKey)
	key, err := New(public)
	if err != nil {
		t.Fatal(err)
	}
	message := randomBytes(r, 500)
	return key, signed{"a usual signature", public, message, ed25519.Sign(private, message)}
}

func TestNewRefusesWhatNoSignatureVerifiesWith(t *testing.T) {
	point := fromHex(t, "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	notAPoint := slices.Concat([]byte{2}, make([]byte, 31)) // y = 2: (y² - 1)/(dy² + 1) has no root
	for name, row := range map[string]struct {
		key  []byte
		want string
	}{
		"nothing":                   {nil, "it has 0 bytes, not 32"},
		"31 bytes":                  {point[:31], "it has 31 bytes, not 32"},
		"33 bytes":                  {slices.Concat(point, point[:1]), "it has 33 bytes, not 32"},
		"a private key":             {slices.Concat(point, point), "it has 64 bytes, not 32"},
		"no point":                  {notAPoint, "is not the encoding of a point"},
		"no point, with a sign":     {slices.Concat(notAPoint[:31], []byte{0x80}), "is not the encoding of a point"},
		"no point, and not reduced": {slices.Concat([]byte{0xed + 2}, bytes.Repeat([]byte{0xff}, 30), []byte{0x7f}), "is not the encoding of a point"},
	} {
		key, err := New(row.key)
		if key != nil || err == nil || !strings.Contains(err.Error(), row.want) {
			t.Errorf("%s: %v, %v, want an error with %q", name, key != nil, err, row.want)
		}
		if len(row.key) == ed25519.PublicKeySize && isPoint(row.key) {
			t.Errorf("%s is a point", name)
		}
	}
}

func TestAKeyIsCopied(t *testing.T) {
	_, s := example(t, 10)
	public := slices.Clone(s.key)
	key, err := New(public)
	if err != nil {
		t.Fatal(err)
	}
	clear(public)
	if !key.Verify(s.message, s.signature) {
		t.Error("the key changed with the slice that it was made of")
	}
}

func TestASignatureOfAnotherLengthIsRefused(t *testing.T) {
	key, s := example(t, 11)
	for n := range 130 {
		signature := slices.Concat(s.signature, s.signature, s.signature)[:n]
		if got := agreeWith(t, key, signed{"cut", s.key, s.message, signature}); got != (n == ed25519.SignatureSize) {
			t.Errorf("%d bytes: accepted %v", n, got)
		}
	}
	if key.Verify(s.message, nil) || key.Verify(nil, s.signature) {
		t.Error("nothing is accepted")
	}
}

// A table of zeros would make R = (0, 0) of every message.
func TestAKeyThatNewHasNotMadeVerifiesNothing(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("Verify has returned")
		}
	}()
	if new(Key).Verify([]byte("any"), make([]byte, ed25519.SignatureSize)) {
		t.Error("a signature of zeros is accepted")
	}
}

func TestVerifyAllocatesNothing(t *testing.T) {
	key, s := example(t, 12)
	forged := slices.Clone(s.signature)
	forged[0] ^= 1
	unreduced := slices.Clone(s.signature)
	unreduced[63] |= 0x10
	for name, signature := range map[string][]byte{"accepted": s.signature, "forged": forged, "S not reduced": unreduced, "short": forged[:63]} {
		if n := testing.AllocsPerRun(100, func() { key.Verify(s.message, signature) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestTableSizeIsWhatAKeyTakes(t *testing.T) {
	_, s := example(t, 13)
	keys := make([]*Key, 400)
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	for i := range keys {
		keys[i], _ = New(s.key)
	}
	each := float64(heap()-before) / float64(len(keys))
	runtime.KeepAlive(keys)
	if each < 0.99*TableSize || 1.01*TableSize < each {
		t.Errorf("a key takes %.0f bytes, TableSize is %d", each, TableSize)
	}
}

// Many verify with the same key while others make keys; go test -race sees who writes.
func TestKeysAreUsedByManyAtOnce(t *testing.T) {
	key, s := example(t, 14)
	forged := slices.Clone(s.signature)
	forged[40] ^= 1
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				if !key.Verify(s.message, s.signature) || key.Verify(s.message, forged) {
					t.Error("decided wrongly")
				}
			}
		})
		group.Go(func() {
			for range 5 {
				if another, err := New(s.key); err != nil || !another.Verify(s.message, s.signature) {
					t.Errorf("a new key: %v, or decided wrongly", err)
				}
			}
		})
	}
	group.Wait()
}
