"""A unit and its models, found by the entries that its stacks publish."""

from typing import Any

import pytest

from mlops_runtime.client import Unit, UnitError


def test_a_unit_and_its_models_are_found(account: Any) -> None:
    """A model by its short or whole name; one may have an endpoint alone."""
    unit = Unit.connect("demand", session=account.session)
    assert unit.name == "demand"
    assert unit.model("forecast").live() is None
    assert unit.model("demand-forecast").live() is None
    account.client("ssm").delete_parameter(Name="/mlops/demand/pipeline/demand-forecast")
    alone = unit.model("forecast")
    assert alone.live() is None
    with pytest.raises(UnitError, match="demand-forecast has no RetrainingPipeline; declare one"):
        alone.train(reason="r")


def test_a_pipeline_may_have_no_endpoint(account: Any) -> None:
    """Then nothing is predicted."""
    account.client("ssm").delete_parameter(Name="/mlops/demand/endpoint/demand-forecast")
    with pytest.raises(UnitError, match="demand-forecast has no ModelEndpoint; declare one"):
        Unit.connect("demand", session=account.session).model("forecast").predict([{"price": 1}])


def test_fails_by_name(account: Any) -> None:
    """With what shows what there is."""
    with pytest.raises(UnitError, match="business unit 'no-such' not found at https://ssm"):
        Unit.connect("no-such", session=account.session)
    with pytest.raises(
        UnitError, match="has no pipeline or endpoint 'demand-price'; list them with: mlops status demand"
    ):
        Unit.connect("demand", session=account.session).model("price")
