"""CDK constructs of the MLOps platform."""

from mlops_constructs._errors import ValidationError
from mlops_constructs.business_unit import BusinessUnit, Network, Profile

__all__ = ["BusinessUnit", "Network", "Profile", "ValidationError"]
