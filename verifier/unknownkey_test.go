package verifier_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/verifier"
)

// reportingFeed is a feed that remembers which unknown keys it was told of.
type reportingFeed struct {
	*feed
	reports []string
}

func (f *reportingFeed) ReportUnknownKey(issuer events.Name, kid events.KeyID) {
	f.reports = append(f.reports, string(issuer)+" "+string(kid))
}

// TestI21_OnlyUnknownKidsOfAcceptedExternalIssuersAreReported: nothing else can make anybody fetch anything.
func TestI21_OnlyUnknownKidsOfAcceptedExternalIssuersAreReported(t *testing.T) {
	const uri = `,"jwks_uri":"https://login.example.net/jwks"`
	unknown := edSigner("new key/1")
	for _, r := range []struct {
		name   string
		token  string
		change func(*feed)
		want   []string
	}{
		{"an accepted external issuer's", mint(t, unknown, "at+jwt", externalClaims), nil, []string{"login new key/1"}},
		{"a known key", external(t, externalClaims), nil, nil},
		{"a deleted key", external(t, externalClaims), func(f *feed) { f.delete("key.login.x1") }, []string{"login x1"}},
		{"a revoked key", external(t, externalClaims), func(f *feed) { f.put("revoked.login.x1", "{}") }, nil},
		{"a kid that was revoked before it came", mint(t, unknown, "at+jwt", externalClaims),
			func(f *feed) { f.put(events.RevokedRecord("login", "new key/1").String(), "{}") }, nil},
		{"an issuer whose keys nobody fetches", mint(t, unknown, "at+jwt", externalClaims), func(f *feed) { f.put("issuer.login", loginRecord) }, nil},
		{"a disabled issuer", mint(t, unknown, "at+jwt", externalClaims),
			func(f *feed) { f.put("issuer.login", strings.Replace(loginRecord, "active", "disabled", 1)) }, nil},
		{"an issuer that is for assertions only", mint(t, unknown, "at+jwt", externalClaims.with("iss", `"`+buildsURL+`"`)), nil, nil},
		{"a client's", mint(t, edSigner("k77"), "at+jwt", offlineClaims), nil, nil},
		{"the platform's", mint(t, edSigner("k77"), "at+jwt", onlineClaims), nil, nil},
		{"an unknown issuer's", mint(t, unknown, "at+jwt", externalClaims.with("iss", `"https://nobody.example.net"`)), nil, nil},
	} {
		t.Run(r.name, func(t *testing.T) {
			f := &reportingFeed{feed: installation(t)}
			f.put("issuer.login", strings.Replace(loginRecord, `,"use"`, uri+`,"use"`, 1))
			f.put("issuer.builds", strings.Replace(buildsRecord, `,"use"`, uri+`,"use"`, 1))
			if r.change != nil {
				r.change(f.feed)
			}
			v, err := verifier.New(billingConfig(), f)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = v.Verify(r.token) // what comes out is other tests' business
			if !slices.Equal(f.reports, r.want) {
				t.Errorf("reported %q, want %q", f.reports, r.want)
			}
		})
	}
}
