package main

import (
	"crypto/tls"
	"fmt"
	"strings"

	"github.com/hashicorp/go-secure-stdlib/reloadutil"
	"github.com/rs/zerolog"
)

// clientAuth is whether clients have to show certificates.
type clientAuth tls.ClientAuthType

const (
	clientAuthNone     = clientAuth(tls.NoClientCert)
	clientAuthOptional = clientAuth(tls.VerifyClientCertIfGiven)
	clientAuthRequired = clientAuth(tls.RequireAndVerifyClientCert)
)

// UnmarshalText reads its name.
func (a *clientAuth) UnmarshalText(text []byte) error {
	names := map[string]clientAuth{"none": clientAuthNone, "optional": clientAuthOptional, "required": clientAuthRequired}
	v, ok := names[strings.ToLower(string(text))]
	if !ok {
		return fmt.Errorf("%q is no such choice; want none, optional or required", text)
	}
	*a = v
	return nil
}

// certificates are what the gateway shows to those who connect.
type certificates struct {
	getter *reloadutil.CertificateGetter
	config *tls.Config

	failure string // the last one; only reload uses it
}

// certificates reads the files that are named.
func (t *tlsSection) certificates() (*certificates, error) {
	getter := reloadutil.NewCertificateGetter(t.Cert, t.Key, "")
	if err := getter.Reload(); err != nil {
		return nil, fmt.Errorf("the certificate and its key: %w", err)
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: getter.GetCertificate,
		NextProtos:     []string{"h2", "http/1.1"},
		ClientAuth:     tls.ClientAuthType(*t.ClientAuth),
	}
	if t.ClientCA != "" {
		pool, err := readCAs(t.ClientCA)
		if err != nil {
			return nil, fmt.Errorf("the CAs of clients: %w", err)
		}
		cfg.ClientCAs = pool
	}
	return &certificates{getter: getter, config: cfg}, nil
}

// reload reads the certificate again. A session that is open keeps the old one, and so does everybody while the files are
// broken.
func (c *certificates) reload(log zerolog.Logger) {
	before := c.leaf()
	switch err := c.getter.Reload(); {
	case err != nil && err.Error() != c.failure: // once is enough
		c.failure = err.Error()
		log.Error().Err(err).Msg("the certificate cannot be read; the old one stays")
	case err == nil:
		c.failure = ""
		if after := c.leaf(); after != before {
			log.Info().Msg("certificate replaced")
		}
	}
}

// leaf returns the certificate's own bytes.
func (c *certificates) leaf() string {
	cert, err := c.getter.GetCertificate(nil)
	if err != nil || len(cert.Certificate) == 0 {
		return ""
	}
	return string(cert.Certificate[0])
}
