"""Client of an endpoint with personal fields, which are hashed or removed before a request is sent."""

import boto3

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.serving.endpoint_client import EndpointClient


def predict(name: str) -> float:
    """Return the prediction for one row, from the endpoint described in the parameter ``name``."""
    parameter = boto3.client("ssm").get_parameter(Name=name)["Parameter"]["Value"]
    client = EndpointClient(from_json(EndpointEntry, parameter), client=boto3.client)
    row = {"household": 7, "email": "ann@shop.example", "price": 2.5}
    (prediction,) = client.predict([row], inference_id="week-9-1")
    return float(prediction)
