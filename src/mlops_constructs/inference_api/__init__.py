"""Inference API of a business unit: a REST API in front of its models."""

from mlops_constructs.inference_api.api_access import Access, Quota
from mlops_constructs.inference_api.inference_api import InferenceApi

__all__ = ["Access", "InferenceApi", "Quota"]
