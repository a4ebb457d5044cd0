package issuer

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
)

// request makes a request to the token endpoint at path.
func request(method, path, contentType, body string) *http.Request {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	return r
}

const form = "application/x-www-form-urlencoded"

func TestI1_ATokenRequestIsAPostOfAForm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		good := "grant_type=client_credentials&client_secret=" + f.apiKey.Reveal()
		tests := []struct {
			name   string
			r      *http.Request
			status int
		}{
			{"a form", request("POST", "/oauth/token", form, good), 200},
			{"a form with a charset", request("POST", "/oauth/token", form+"; charset=UTF-8", good), 200},
			{"an unknown parameter is ignored", request("POST", "/oauth/token", form, good+"&x=1"), 200},
			{"a parameter without a value counts as omitted", request("POST", "/oauth/token", form, good+"&scope=&resource=&client_id=&client_assertion="), 200},
			{"a form with no type", request("POST", "/oauth/token", "", good), 400},
			{"a form that says it is JSON", request("POST", "/oauth/token", "application/json", good), 400},
			{"a form that says it is text", request("POST", "/oauth/token", "text/plain", good), 400},
			{"multipart", request("POST", "/oauth/token", "multipart/form-data; boundary=x", good), 400},
			{"a broken type", request("POST", "/oauth/token", form+"; charset", good), 400},
			{"JSON", request("POST", "/oauth/token", "application/json", `{"grant_type":"client_credentials"}`), 400},
			{"a wrong escape", request("POST", "/oauth/token", form, good+"&x=%zz"), 400},
			{"a semicolon", request("POST", "/oauth/token", form, good+";x=1"), 400},
			{"no grant type", request("POST", "/oauth/token", form, "client_secret="+f.apiKey.Reveal()), 400},
			{"an empty body", request("POST", "/oauth/token", form, ""), 400},
			{"a body at the limit", request("POST", "/oauth/token", form, good+"&x="+strings.Repeat("y", maxBody-len(good)-3)), 200},
			{"a body over the limit", request("POST", "/oauth/token", form, good+"&x="+strings.Repeat("y", maxBody-len(good)-2)), 413},
		}
		for _, test := range tests {
			a := f.token(test.r)
			if a.status != test.status {
				t.Errorf("%s: status %d (%s), want %d", test.name, a.status, a.Description, test.status)
			}
			if a.status != 200 && a.Error != "invalid_request" {
				t.Errorf("%s: error %s", test.name, a.Error)
			}
		}
	})
}

func TestI1_OtherMethodsAreNotAllowed(t *testing.T) {
	f := newFixture(t)
	for _, path := range []string{"/oauth/token", "/api/authentication/oauth/tokens"} {
		for _, method := range []string{"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			w := f.do(request(method, path, form, "grant_type=client_credentials&client_secret="+f.apiKey.Reveal()))
			if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
				t.Errorf("%s %s: status %d, Allow %q", method, path, w.Code, w.Header().Get("Allow"))
			}
		}
	}
}

func TestI1_ARepeatedParameterIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		for _, name := range []string{"grant_type", "client_id", "client_secret", "client_assertion", "client_assertion_type", "scope", "audience", "unknown"} {
			for _, value := range []string{"", "x"} {
				a := f.token(f.withKey(name, value, name, value))
				if a.status != 400 || a.Error != "invalid_request" {
					t.Errorf("%s=%s twice: status %d, error %s", name, value, a.status, a.Error)
				}
			}
		}
		if a := f.token(f.withKey("resource", "https://billing", "resource", "https://ledger")); a.status != 200 {
			t.Errorf("resource twice (RFC 8707 §2): status %d: %s", a.status, a.Description)
		}
	})
}

func TestI1_CredentialsInTheURLAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		body := "grant_type=client_credentials&client_secret=" + f.apiKey.Reveal()
		for query, status := range map[string]int{
			"":                                      200,
			"?trace=1":                              200,
			"?client_secret=" + f.apiKey.Reveal():   400,
			"?client_secret=":                       400,
			"?client_assertion=x":                   400,
			"?client_id=orders":                     400,
			"?grant_type=client_credentials":        400,
			"?scope=x":                              400,
			"?resource=x":                           400,
			"?audience=x":                           400,
			"?client_assertion_type=x":              400,
			"?%63lient_secret=x":                    400,
			"?x=%zz":                                400,
			"?x;client_secret=" + f.apiKey.Reveal(): 400,
			"?x=1&client_secret=" + f.apiKey.Reveal(): 400,
			"?client_secret": 400,
			"?client_secret=a&client_secret=b&trace=1": 400,
		} {
			a := f.token(request("POST", "/oauth/token"+query, form, body))
			if a.status != status || status == 400 && a.Error != "invalid_request" {
				t.Errorf("%s: status %d, error %s, want %d", query, a.status, a.Error, status)
			}
			if strings.Contains(a.Description, f.apiKey.Reveal()) {
				t.Error("the answer has the API key")
			}
		}
		if strings.Contains(f.log.String(), f.apiKey.Reveal()) {
			t.Error("the log has the API key")
		}
	})
}

func TestI1_JSONIsReadAtThePathOfAuthressStrictly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		secret := f.apiKey.Reveal()
		good := `"client_id":"orders","client_secret":"` + secret + `","grant_type":"client_credentials"`
		for body, status := range map[string]int{
			`{` + good + `}`: 200,
			`{` + good + `,"resource":"https://billing","scope":"billing:read"}`: 200,
			`{` + good + `,"resource":["https://billing","https://ledger"]}`:     200,
			`{` + good + `,"unknown":{"a":[1,2]},"other":null}`:                  200,
			`{` + good + `,"grant_type":"client_credentials"}`:                   400,
			`{` + good + `,"scope":["billing:read"]}`:                            400,
			`{` + good + `,"scope":1}`:                                           400,
			`{` + good + `,"resource":[1]}`:                                      400,
			`{` + good + `,"resource":{}}`:                                       400,
			`{` + good + `,"audience":["https://billing"]}`:                      400,
			`{` + good + `,"client_assertion":null}`:                             400,
			`[{` + good + `}]`:                                                   400,
			`{` + good:                                                           400,
			`{` + good + `} {}`:                                                  400,
			``:                                                                   400,
			`null`:                                                               400,
			`{"Grant_Type":"client_credentials","client_secret":"` + secret + `"}`: 400,
			`{"grant_type":"client_credentials","client_id":"orders"}`:             401,
		} {
			a := f.token(request("POST", "/api/authentication/oauth/tokens", "application/json; charset=utf-8", body))
			if a.status != status {
				t.Errorf("%s: status %d (%s), want %d", strings.ReplaceAll(body, secret, "…"), a.status, a.Description, status)
			}
		}
		a := f.token(request("POST", "/api/authentication/oauth/tokens", form, "grant_type=client_credentials&client_id=orders&client_secret="+secret))
		if a.status != 200 {
			t.Errorf("a form at the path of Authress: status %d: %s", a.status, a.Description)
		}
	})
}

// FuzzTokenRequest checks that no body makes the token endpoint fail in any other way than with an OAuth error.
func FuzzTokenRequest(f *testing.F) {
	for _, seed := range []struct{ contentType, body string }{
		{form, "grant_type=client_credentials&client_id=orders&client_secret=khs_orders_x"},
		{form, "grant_type=client_credentials&resource=a&resource=b&scope=a%20b"},
		{form, "client_assertion_type=urn%3Aietf&client_assertion=a.b.c&grant_type=client_credentials"},
		{form, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b.c"},
		{"application/json", `{"grant_type":"client_credentials","client_id":"orders","client_secret":"x"}`},
		{"application/json", `{"resource":["a","b"],"grant_type":"client_credentials"}`},
		{"application/json", `{"grant_type":`},
	} {
		f.Add(seed.contentType, []byte(seed.body))
	}
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		r := httptest.NewRequest("POST", "/api/authentication/oauth/tokens", bytes.NewReader(body))
		r.Header.Set("Content-Type", contentType)
		parsed, err := parseTokenRequest(httptest.NewRecorder(), r, true)
		if err == nil {
			if parsed == nil {
				t.Fatal("neither a request nor an error")
			}
			return
		}
		if answer := asOAuthError(err); answer.status/100 != 4 || answer.Code != "invalid_request" {
			t.Errorf("status %d, error %s", answer.status, answer.Code)
		}
	})
}

func TestASecondContentTypeIsRefused(t *testing.T) {
	r := request("POST", "/oauth/token", "application/x-www-form-urlencoded", "grant_type=client_credentials")
	r.Header.Add("Content-Type", "application/json")
	var answer *oauthError
	if _, err := parseTokenRequest(httptest.NewRecorder(), r, true); !errors.As(err, &answer) || answer.Code != "invalid_request" {
		t.Errorf("error %v, want invalid_request", err)
	}
}

var formSeeds = []string{
	"", "&", "=", "a", "a=", "=a", "a=b", "a=b&c=d", "a=b&a=c", "a&a", "resource=x&resource=y&scope=z&resource=w", "a=b=c", "a=%20+%2B", "%61=b", "+=+",
	"a=%", "a=%zz", "%=a", "a;b=c", "a=b;c", "a=%3b", "&&a=b&&", "a=\x00\xff", "a=b&" + "c=d&e=f&g=h&i=j&k=l&m=n&o=p&q=r",
	strings.Repeat("a=b&", maxParams-1), strings.Repeat("a=b&", maxParams), strings.Repeat("&", maxBody),
}

// FuzzForm compares what reads forms here with url.ParseQuery, which differs in how many parameters there may be.
func FuzzForm(f *testing.F) {
	for _, seed := range formSeeds {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got := url.Values{}
		err := readForm(got, []byte(body))
		want, wantErr := url.ParseQuery(body)
		if strings.Count(body, "&") >= maxParams {
			if err == nil {
				t.Fatalf("%q has too many parameters, and was read", body)
			}
			return
		}
		if (err == nil) != (wantErr == nil) || err == nil && !maps.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("%q was read as %q (%v), want %q (%v)", body, got, err, want, wantErr)
		}
	})
}

func TestI1_AFormOfTooManyParametersIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		good := "grant_type=client_credentials&client_secret=" + f.apiKey.Reveal()
		for extra, want := range map[int]int{0: 200, maxParams - 2: 200, maxParams - 1: 400, maxBody/2 - len(good): 400} {
			a := f.token(request("POST", "/oauth/token", form, good+strings.Repeat("&", extra)))
			if a.status != want {
				t.Errorf("%d parameters: status %d (%s), want %d", extra+2, a.status, a.Description, want)
			}
		}
	})
}

func TestI1_ABodyMayComeInPiecesOrEndEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := startReady(t)
		good := "grant_type=client_credentials&client_secret=" + f.apiKey.Reveal()
		for name, test := range map[string]struct {
			body   string
			length int64
			want   int
		}{
			"a body of unknown length":                {good, -1, 200},
			"a body of unknown length over the limit": {good + "&x=" + strings.Repeat("y", maxBody), -1, 413},
			"more memory than bodies get at once":     {good + "&x=" + strings.Repeat("y", usualBody), int64(len(good)) + 3 + usualBody, 200},
			"a body that ends early":                  {good[:20], int64(len(good)), 400},
			"a long body that ends early":             {good, usualBody + 1, 400},
		} {
			r := request("POST", "/oauth/token", form, "")
			r.ContentLength = test.length
			r.Body = io.NopCloser(iotest.OneByteReader(strings.NewReader(test.body)))
			if test.length > int64(len(test.body)) { // as net/http has it
				r.Body = io.NopCloser(io.MultiReader(strings.NewReader(test.body), iotest.ErrReader(io.ErrUnexpectedEOF)))
			}
			if a := f.token(r); a.status != test.want {
				t.Errorf("%s: status %d (%s), want %d", name, a.status, a.Description, test.want)
			}
		}
	})
}
