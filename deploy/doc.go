// Package deploy has what runs wampgate elsewhere: Kubernetes manifests, a Helm chart, dashboards and alerts. It has no code but the tests that hold
// those, the Dockerfile and docker-compose.yml to what their own programs take; it is a module of its own for what these tests need.
//
// There is no cluster: kubectl and helm speak to a stand-in for an API server. What is proven is that the commands of the guide work, and that
// Kubernetes takes the objects; not that pods run.
package deploy
