// Package deploy has what runs wampgate elsewhere: Kubernetes manifests, a Helm chart, dashboards and alerts. It has no code but the tests that hold
// those, the Dockerfile and docker-compose.yml to what their own programs take; it is a module of its own for what these tests need.
package deploy
