"""API of the web console: read and operate units and models, as JSON over HTTP, described by OpenAPI 3.1."""
