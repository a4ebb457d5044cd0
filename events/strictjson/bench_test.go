package strictjson_test

import (
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events/strictjson"
)

func BenchmarkParse(b *testing.B) {
	claims := `{"iss":"https://auth.example.com/v1/clients/orders","sub":"orders","aud":["https://billing.example.com"],"client_id":"orders","iat":1790000000,"nbf":1790000000,"exp":1790000900,"jti":"0198c5f2-6d1c-7a31-9a52-3f4f0a8f4c11","scope":"billing:read billing:write"}`
	var many strings.Builder
	for i := range 64 {
		many.WriteString([]string{"{", ","}[min(i, 1)])
		many.WriteString(`"` + strings.Repeat("x", 70) + string(rune('A'+i%26)) + string(rune('a'+i/26)) + `":"` + strings.Repeat("v", 10) + `"`)
	}
	many.WriteString("}")
	docs := []struct{ name, json string }{
		{"claims", claims},
		{"text", `{"t":"` + strings.Repeat("abcdefgh", 750) + `"}`},
		{"utf8", `{"t":"` + strings.Repeat("ü", 3000) + `"}`},
		{"escapes", `{"t":"` + strings.Repeat(`\n`, 3000) + `"}`},
		{"members", many.String()},
		{"escaped members", strings.ReplaceAll(many.String(), "xxxxxx", `\u0078`)},
		{"array", `{"t":[` + strings.Repeat(`1,`, 1000) + `1]}`},
		{"nested", `{"t":[` + strings.Repeat(`[[[[[[]]]]]],`, 150) + `1]}`},
	}
	for _, d := range docs {
		b.Run(d.name, func(b *testing.B) {
			data := []byte(d.json)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				var obj strictjson.Object
				if err := obj.Parse(data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
