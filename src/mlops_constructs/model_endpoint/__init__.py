"""Endpoints: capacity, capture, and the model endpoint itself."""

from mlops_constructs.model_endpoint.capacity import EndpointCapacity
from mlops_constructs.model_endpoint.capture import DataCapture
from mlops_constructs.model_endpoint.model_endpoint import IModelEndpoint, ModelEndpoint

__all__ = ["DataCapture", "EndpointCapacity", "IModelEndpoint", "ModelEndpoint"]
