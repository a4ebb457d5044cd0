package main

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/keyherald/keyherald/events"
	"github.com/keyherald/keyherald/registry"
)

type certCmd struct {
	Add     certAddCmd     `cmd:"" help:"Accept a certificate of a client, whoever has signed it. Prints its SHA-256 and nothing else."`
	Remove  certRemoveCmd  `cmd:"" help:"Refuse a certificate of a client from now on."`
	Subject certSubjectCmd `cmd:"" help:"Accept any certificate with this subject that an authority of serve --tls-client-ca has signed."`
	List    certListCmd    `cmd:"" help:"Show by which certificates or subject a client may authenticate."`
	Clear   certClearCmd   `cmd:"" help:"Refuse all certificates of a client from now on."`
}

// certificateFile reads the certificate in a file; - is standard input.
func certificateFile(a *app, file string) (*x509.Certificate, error) {
	text, err := a.readInput("the certificate", file, maxPublicKeyFile)
	if err != nil {
		return nil, err
	}
	cert, err := registry.ParseCertificate([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("file %s: %w", file, err)
	}
	return cert, nil
}

type certAddCmd struct {
	reach
	Client events.Name `arg:"" help:"Name of the client."`
	File   string      `arg:"" help:"File with the certificate (PEM), without its private key. - is standard input."`
}

func (c *certAddCmd) Run(ctx context.Context, a *app) error {
	cert, err := certificateFile(a, c.File)
	if err != nil {
		return err
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		revision, err := o.AddCertificate(ctx, a.caller, c.Client, cert)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "client %s may authenticate with the certificate until %s (revision %d)\n", c.Client, day(cert.NotAfter.Unix()), revision)
		_, err = fmt.Fprintln(a.out, registry.Thumbprint(sha256.Sum256(cert.Raw)))
		return err
	})
}

type certRemoveCmd struct {
	reach
	Client events.Name `arg:"" help:"Name of the client."`
	SHA256 string      `arg:"" name:"sha256" help:"SHA-256 of the certificate, as listed or as openssl x509 -fingerprint -sha256 prints it. If it begins with -, put -- before it."`
}

func (c *certRemoveCmd) Run(ctx context.Context, a *app) error {
	sum, err := parseSHA256(c.SHA256)
	if err != nil {
		return err
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		revision, err := o.RemoveCertificate(ctx, a.caller, c.Client, sum)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "removed the certificate of client %s at revision %d; tokens that it has got are good until they end\n", c.Client, revision)
		return nil
	})
}

// parseSHA256 reads a digest as base64url, or as hexadecimal digits with or without colons.
func parseSHA256(text string) (sum [sha256.Size]byte, err error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != sha256.Size || strings.ContainsAny(text, "\r\n") {
		raw, err = hex.DecodeString(strings.ReplaceAll(text, ":", ""))
	}
	if err != nil || len(raw) != sha256.Size {
		return sum, usage("%.100q is not the SHA-256 of a certificate: 43 characters, as cert list prints it, or 64 hexadecimal digits", text)
	}
	return [sha256.Size]byte(raw), nil
}

type certSubjectCmd struct {
	reach
	DNS    string      `name:"san-dns" help:"A DNS name among its alternative names." placeholder:"NAME" xor:"subject"`
	URI    string      `name:"san-uri" help:"A URI among its alternative names, such as a SPIFFE ID." placeholder:"URI" xor:"subject"`
	IP     string      `name:"san-ip" help:"An IP address among its alternative names." placeholder:"IP" xor:"subject"`
	Email  string      `name:"san-email" help:"An e-mail address among its alternative names." placeholder:"ADDRESS" xor:"subject"`
	DN     string      `name:"subject-dn" help:"Its subject, as openssl x509 -noout -subject -nameopt RFC2253 prints it, such as CN=orders,O=Acme; compared byte by byte." placeholder:"DN" xor:"subject"`
	Client events.Name `arg:"" help:"Name of the client."`
}

func (c *certSubjectCmd) Run(ctx context.Context, a *app) error {
	subject := events.TLS{DNS: c.DNS, URI: c.URI, IP: c.IP, Email: c.Email, SubjectDN: c.DN}
	member, value := subject.Subject()
	if member == "" {
		return usage("no subject: give one of --san-dns, --san-uri, --san-ip, --san-email and --subject-dn")
	}
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		revision, err := o.SetCertificateSubject(ctx, a.caller, c.Client, subject)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "client %s may authenticate with certificates of %s %s (revision %d)\n", c.Client, member, printable(value), revision)
		return nil
	})
}

type certListCmd struct {
	reach
	JSON   bool        `name:"json" help:"Print JSON."`
	Client events.Name `arg:"" help:"Name of the client."`
}

// tlsReport is how a client may authenticate by certificate, in the output of --json: the record's member tls. It is an interface: members
// are added, not changed.
type tlsReport struct {
	Certificates []string `json:"x5t#S256,omitempty"`
	SubjectDN    string   `json:"subject_dn,omitempty"`
	DNS          string   `json:"san_dns,omitempty"`
	URI          string   `json:"san_uri,omitempty"`
	IP           string   `json:"san_ip,omitempty"`
	Email        string   `json:"san_email,omitempty"`
}

func (c *certListCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		tls, err := o.Certificates(ctx, c.Client)
		if err != nil {
			return err
		}
		if tls == nil {
			tls = new(events.TLS)
		}
		r := tlsReport{SubjectDN: tls.SubjectDN, DNS: tls.DNS, URI: tls.URI, IP: tls.IP, Email: tls.Email}
		for _, sum := range tls.Certificates {
			r.Certificates = append(r.Certificates, registry.Thumbprint(sum))
		}
		if c.JSON {
			return printJSON(a.out, r)
		}
		t := newTable(a.out, "BY", "VALUE")
		for _, thumbprint := range r.Certificates {
			t.row("x5t#S256", thumbprint)
		}
		if member, value := tls.Subject(); member != "" {
			t.row(member, printable(value))
		}
		return t.flush()
	})
}

type certClearCmd struct {
	reach
	Client events.Name `arg:"" help:"Name of the client."`
}

func (c *certClearCmd) Run(ctx context.Context, a *app) error {
	return c.withRegistry(ctx, a, func(ctx context.Context, o office) error {
		revision, err := o.ClearCertificates(ctx, a.caller, c.Client)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.err, "client %s may authenticate with no certificate (revision %d); tokens that it has got are good until they end\n", c.Client, revision)
		return nil
	})
}
