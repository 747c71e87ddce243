// Reads a dashboard as strictly as can be: whatever Grafana does not know is an error.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	// Only the kinds of panels and data sources that the dashboard has: the others take minutes to build.
	runtime := cog.NewRuntime()
	runtime.RegisterPanelcfgVariant(timeseries.VariantConfig())
	runtime.RegisterDataqueryVariant(prometheus.VariantConfig())
	text, err := os.ReadFile(os.Args[1])
	if err == nil {
		err = (&dashboard.Dashboard{}).UnmarshalJSONStrict(text)
	}
	// Without faults, it returns an empty list of them, which is an error that is not nil.
	var faults cog.BuildErrors
	if errors.As(err, &faults) && len(faults) == 0 {
		err = nil
	}
	// The decoder returns a list of faults as an error even if the list is empty.
	if faults := (cog.BuildErrors{}); errors.As(err, &faults) && len(faults) == 0 {
		err = nil
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
