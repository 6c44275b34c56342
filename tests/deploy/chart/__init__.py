"""The Helm chart, rendered by Helm itself and checked without a cluster."""
