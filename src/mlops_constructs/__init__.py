"""CDK constructs of the MLOps platform."""
