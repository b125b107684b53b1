"""The interface that own and imported endpoints share."""

import aws_cdk as cdk
import pytest

from mlops_constructs import BusinessUnit, ModelEndpoint, ValidationError
from mlops_constructs.model_endpoint.endpoint_interface import IModelEndpoint, IServedModel

MEMBERS = [name for name in vars(IModelEndpoint) if not name.startswith("_")]


def test_there_is_something_to_offer():
    """Lists names, grants and metrics."""
    assert {"endpoint_name", "endpoint_arn", "grant_invoke"} <= set(MEMBERS)


@pytest.mark.parametrize("name", MEMBERS)
def test_an_endpoint_defined_here_offers_it(name: str):
    """Implements every member of the protocol."""
    assert hasattr(ModelEndpoint, name)


def test_an_endpoint_defined_elsewhere_offers_the_same():
    """Implements every member, also with unknown values."""
    stack = cdk.Stack(cdk.App(), "Elsewhere")
    imported = ModelEndpoint.from_endpoint_name(stack, "Endpoint", endpoint_name="demand-forecast")
    assert [name for name in MEMBERS if not hasattr(type(imported), name)] == []
    assert imported.endpoint_name == "demand-forecast"


def test_an_imported_endpoint_knows_the_unit_that_it_was_given():
    """Without a unit, accessing it names the argument to pass."""
    stack = cdk.Stack(cdk.App(), "Elsewhere")
    unit = BusinessUnit(stack, "Unit", name="demand")
    known = ModelEndpoint.from_endpoint_name(stack, "Known", endpoint_name="demand-forecast", business_unit=unit)
    unknown = ModelEndpoint.from_endpoint_name(stack, "Unknown", endpoint_name="demand-forecast")
    assert known.business_unit is unit
    with pytest.raises(ValidationError, match=r"'demand-forecast' was imported without its unit; give ModelEndpoint\."):
        _ = unknown.business_unit


def test_retraining_and_monitors_need_less_than_an_endpoint_offers():
    """Retraining and monitors accept a service on EKS too."""
    needed = [name for name in vars(IServedModel) if not name.startswith("_")]
    assert [name for name in needed if not hasattr(ModelEndpoint, name)] == []
