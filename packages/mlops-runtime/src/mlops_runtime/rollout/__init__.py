"""How a model comes to serve: plan, request shapes, audit chain, custom resource, guard."""
