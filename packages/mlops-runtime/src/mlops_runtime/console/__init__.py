"""The web console's API: what people read and do of units and models, as JSON over HTTP, described by OpenAPI 3.1."""
