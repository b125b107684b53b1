"""SageMaker endpoints: the model endpoint, its capacity, scaling and data capture."""

from mlops_constructs.model_endpoint.data_capture import DataCapture, PersonalData
from mlops_constructs.model_endpoint.endpoint_capacity import (
    EndpointCapacity,
    EndpointVariant,
    Scaling,
    ScheduledCapacity,
    off_hours,
)
from mlops_constructs.model_endpoint.endpoint_interface import IModelEndpoint, IServedModel, Ownership
from mlops_constructs.model_endpoint.model_endpoint import ModelEndpoint

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
