"""Inference APIs: the request format that an API promises its callers, and its OpenAPI description."""
