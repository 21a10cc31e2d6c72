// Package wampgate holds what the whole project shares: the description of its HTTP face.
package wampgate

import _ "embed"

//go:embed openapi.yaml
var openAPI string

// OpenAPI returns the OpenAPI document, in YAML.
func OpenAPI() []byte { return []byte(openAPI) }
