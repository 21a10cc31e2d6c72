module github.com/wampgate/wampgate/e2e

go 1.26
