package bridge

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// signingKeys sign requests as Standard Webhooks has it. With two, a service can change from one to the other.
type signingKeys [][]byte

const (
	maxSigningKeys   = 4
	secretPrefix     = "whsec_"
	minSecret        = 24
	maxSecret        = 64
	headerWebhookID  = "Webhook-Id"
	headerWebhookAt  = "Webhook-Timestamp"
	headerWebhookSig = "Webhook-Signature"
)

// parseSigningKeys reads secrets of the form whsec_ and base64. Its errors do not show them.
func parseSigningKeys(secrets []string) (signingKeys, error) {
	if len(secrets) > maxSigningKeys {
		return nil, fmt.Errorf("there are more than %d secrets", maxSigningKeys)
	}
	var keys signingKeys
	for _, s := range secrets {
		key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s, secretPrefix))
		if err != nil || !strings.HasPrefix(s, secretPrefix) || len(key) < minSecret || len(key) > maxSecret {
			return nil, errors.New("a secret is not of the form whsec_ and 24 to 64 bytes in base64")
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// sign sets the headers of Standard Webhooks. An id is that of one message, also when it is sent again.
func (k signingKeys) sign(h http.Header, id string, at time.Time, body []byte) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	h.Set(headerWebhookID, id)
	h.Set(headerWebhookAt, timestamp)
	if len(k) == 0 {
		return
	}
	signatures := make([]string, len(k))
	for i, key := range k {
		mac := hmac.New(sha256.New, key)
		_, _ = fmt.Fprintf(mac, "%s.%s.", id, timestamp)
		_, _ = mac.Write(body)
		signatures[i] = "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil))
	}
	h.Set(headerWebhookSig, strings.Join(signatures, " "))
}
