"""Inference API of a business unit: a REST API in front of its models."""

from mlops_constructs.inference_api.api_access import Access
from mlops_constructs.inference_api.inference_api import InferenceApi
from mlops_constructs.inference_api.usage_plans import Quota

__all__ = ["Access", "InferenceApi", "Quota"]
