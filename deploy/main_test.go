package deploy_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	helm "helm.sh/helm/v4/pkg/cmd"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	kubectl "k8s.io/kubectl/pkg/cmd"
)

// TestMain is kubectl and helm, too, where it is called by these names: they are made of the same packages as those that people install.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "kubectl":
		streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
		if kubectl.NewDefaultKubectlCommandWithArgs(kubectl.KubectlOptions{Arguments: os.Args, IOStreams: streams}).Execute() != nil {
			os.Exit(1)
		}
	case "helm":
		cmd, err := helm.NewRootCmd(os.Stdout, os.Args[1:], helm.SetupLogging)
		if err != nil {
			slog.Error(err.Error())
			os.Exit(1)
		}
		if cmd.Execute() != nil {
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}
