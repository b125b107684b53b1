"""Serving on a Kubernetes cluster: manifests as plain values, their checks, and how they reach a cluster."""
