package main

import (
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"time"

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
}

// certificates reads the files that the settings name.
func (c *config) certificates() (*certificates, error) {
	getter := reloadutil.NewCertificateGetter(c.TLSCert, c.TLSKey, "")
	if err := getter.Reload(); err != nil {
		return nil, fmt.Errorf("%s and %s: %w", variable("TLSCert"), variable("TLSKey"), err)
	}
	cfg := &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: getter.GetCertificate,
		NextProtos:     []string{"http/1.1"},
		ClientAuth:     tls.ClientAuthType(c.TLSClientAuth),
	}
	if c.TLSClientCA != "" {
		pool, err := readCAs(c.TLSClientCA)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", variable("TLSClientCA"), err)
		}
		cfg.ClientCAs = pool
	}
	return &certificates{getter, cfg}, nil
}

// certificatesEvery is how often the files are looked at.
const certificatesEvery = 10 * time.Second

// watch reads the certificate again from time to time, and on SIGHUP, until done is closed. A session that is open keeps the
// old one, and so does everybody while the files are broken.
func (c *certificates) watch(hangup <-chan os.Signal, done <-chan struct{}, log zerolog.Logger) {
	ticker := time.NewTicker(certificatesEvery)
	defer ticker.Stop()
	failure := ""
	for {
		select {
		case <-done:
			return
		case <-hangup:
		case <-ticker.C:
		}
		before := c.leaf()
		switch err := c.getter.Reload(); {
		case err != nil && err.Error() != failure: // once is enough
			failure = err.Error()
			log.Error().Err(err).Msg("the certificate cannot be read; the old one stays")
		case err == nil:
			failure = ""
			if after := c.leaf(); after != before {
				log.Info().Msg("certificate replaced")
			}
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
