// A test's program, which pins what knows Grafana's dashboards.
module orders-pipeline/infra/tools/grafana

go 1.26.0

require github.com/grafana/grafana-foundation-sdk/go v0.0.22
