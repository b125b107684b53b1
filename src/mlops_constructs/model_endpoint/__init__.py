"""Endpoints: capacity, scaling, capture, and the model endpoint itself."""

from mlops_constructs.model_endpoint.capacity import EndpointCapacity, EndpointVariant
from mlops_constructs.model_endpoint.capture import DataCapture
from mlops_constructs.model_endpoint.interface import IModelEndpoint, IServedModel
from mlops_constructs.model_endpoint.model_endpoint import ModelEndpoint
from mlops_constructs.model_endpoint.ownership import Ownership
from mlops_constructs.model_endpoint.personal import PersonalData
from mlops_constructs.model_endpoint.scaling import Scaling, ScheduledCapacity, off_hours

__all__ = [
    "DataCapture",
    "EndpointCapacity",
    "EndpointVariant",
    "IModelEndpoint",
    "IServedModel",
    "ModelEndpoint",
    "Ownership",
    "PersonalData",
    "Scaling",
    "ScheduledCapacity",
    "off_hours",
]
