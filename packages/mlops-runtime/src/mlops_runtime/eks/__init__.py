"""Serving on EKS: manifests as plain values, their checks, and their application to a cluster."""
