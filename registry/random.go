package registry

import (
	"crypto/rand"
	"math/big"
)

const (
	lowerAlphanumeric = "0123456789abcdefghijklmnopqrstuvwxyz"
	alphanumeric      = lowerAlphanumeric + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// randomText returns n characters of the alphabet, each as likely as the others.
func randomText(n int, alphabet string) string {
	text := make([]byte, n)
	for i := range text {
		k, _ := rand.Int(rand.Reader, big.NewInt(int64(len(alphabet)))) // fails only when the reader does, and this one never does
		text[i] = alphabet[k.Int64()]
	}
	return string(text)
}
