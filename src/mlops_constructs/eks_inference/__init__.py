"""Serving models on a Kubernetes cluster that one has."""
