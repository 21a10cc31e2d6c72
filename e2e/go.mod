module github.com/wampgate/wampgate/e2e

go 1.26.0

require (
	github.com/coder/websocket v1.8.15
	github.com/wampgate/wampgate v0.0.0
)

require (
	github.com/cenkalti/backoff/v5 v5.0.3 // indirect
	github.com/ugorji/go/codec v1.3.2 // indirect
)

replace github.com/wampgate/wampgate => ../
