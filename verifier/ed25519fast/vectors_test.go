package ed25519fast

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha512"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"github.com/c2sp/wycheproof"
)

// readCCTV reads the edge cases on which implementations of Ed25519 differ.
func readCCTV(t testing.TB) (vectors []signed) {
	t.Helper()
	data, err := os.ReadFile("../jws/testdata/cctv/ed25519vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var file []struct {
		Number        int
		Key, Sig, Msg string
		Flags         []string
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, v := range file {
		vectors = append(vectors, signed{fmt.Sprintf("CCTV %d %v", v.Number, v.Flags), fromHex(t, v.Key), []byte(v.Msg), fromHex(t, v.Sig)})
	}
	if len(vectors) != 914 {
		t.Fatalf("read %d vectors, want 914", len(vectors))
	}
	return vectors
}

// readWycheproof reads Wycheproof's vectors, and which of them are valid.
func readWycheproof(t testing.TB) (vectors []signed, valid []bool) {
	t.Helper()
	data, err := fs.ReadFile(wycheproof.TestVectors, "ed25519_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		TestGroups []struct {
			PublicKey struct{ PK string }
			Tests     []struct {
				ID               int `json:"tcId"`
				Comment          string
				Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.TestGroups {
		for _, v := range g.Tests {
			name := fmt.Sprintf("Wycheproof %d %s", v.ID, v.Comment)
			vectors = append(vectors, signed{name, fromHex(t, g.PublicKey.PK), fromHex(t, v.Msg), fromHex(t, v.Sig)})
			valid = append(valid, v.Result == "valid")
		}
	}
	if len(vectors) != 151 {
		t.Fatalf("read %d vectors, want 151", len(vectors))
	}
	return vectors, valid
}

func TestCCTV(t *testing.T) {
	accepted := 0
	for _, v := range readCCTV(t) {
		if agree(t, v) {
			accepted++
		}
	}
	if accepted != 208 {
		t.Errorf("%d are accepted, want 208", accepted)
	}
}

func TestWycheproof(t *testing.T) {
	vectors, valid := readWycheproof(t)
	for i, v := range vectors {
		if got := agree(t, v); got != valid[i] {
			t.Errorf("%s: accepted %v, published as valid %v", v.name, got, valid[i])
		}
	}
}

// The examples of RFC 8032 §7.1. Their secret keys are published, and so nobody's credential.
func TestRFC8032(t *testing.T) {
	abc := sha512.Sum512([]byte("abc"))
	for _, v := range []struct {
		name, secret, public string
		message              []byte
		signature            string
	}{
		{"TEST 1", "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", nil,
			"e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
		{"TEST 2", "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", []byte{0x72},
			"92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
		{"TEST 3", "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", []byte{0xaf, 0x82},
			"6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
		{"TEST 1024", "f5e5767cf153319517630f226876b86c8160cc583bc013744c6bf255f5cc0ee5", "278117fc144c72340f67d0f2316e8386ceffbf2b2428c9c51fef7c597f1d426e", message1023(t),
			"0aab4c900501b3e24d7cdf4663326a3a87df5e4843b2cbdb67cbf6e460fec350aa5371b1508f9f4528ecea23c436d94b5e8fcd4f681e30a6ac00a9704a188a03"},
		{"TEST SHA(abc)", "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42", "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf", abc[:],
			"dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704"},
	} {
		s := signed{v.name, fromHex(t, v.public), v.message, fromHex(t, v.signature)}
		if !agree(t, s) {
			t.Errorf("%s is refused", v.name)
		}
		private := ed25519.NewKeyFromSeed(fromHex(t, v.secret)) // that the example is copied rightly
		if !bytes.Equal(private.Public().(ed25519.PublicKey), s.key) || !bytes.Equal(ed25519.Sign(private, s.message), s.signature) {
			t.Errorf("%s is not the RFC's", v.name)
		}
	}
}

// message1023 is the message of TEST 1024, which Wycheproof has, too.
func message1023(t *testing.T) []byte {
	vectors, _ := readWycheproof(t)
	for _, v := range vectors {
		if len(v.message) == 1023 {
			return v.message
		}
	}
	t.Fatal("Wycheproof has no message of 1023 bytes")
	return nil
}
