// Pins the operators whose custom resources the chart has, for the schemas of these. Nothing of them is built.
//
// To update one: `go mod edit -require=<module>@<version>`, then `go mod download`.
module orders-pipeline/infra/tools/crds

go 1.26.0

require (
	github.com/kedacore/keda/v2 v2.21.0
	github.com/prometheus-operator/prometheus-operator v0.94.1
)
