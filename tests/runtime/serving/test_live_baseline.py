"""A caller's knowledge of the live model, with stand-ins of its clients."""

import io
from typing import Any

import pytest
from botocore.exceptions import ClientError

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, FeatureBaseline
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.serving.live_baseline import ModelInputs, live_baseline

ENTRY = EndpointEntry(
    endpoint="crm-churn",
    unit="crm",
    group="crm-churn",
    rollout_table="t",
    deploy_machine="m",
    target="sagemaker",
    is_monitored=True,
)
BASELINE = Baseline(
    features=(
        FeatureBaseline(name="price", type="number", counts=(1,)),
        FeatureBaseline(name="store", type="category", counts=(1,)),
    ),
    rows=1,
    training_set_id="t",
    created="2017-08-07",
)
LIVE = LivePointer(
    endpoint="crm-churn",
    config="c",
    model="m",
    model_package_arn="arn",
    model_sha256="a" * 64,
    artifact_uri="s3://b/model.tar.gz",
    baseline_uri="s3://b/baseline.json",
    baseline_sha256="b" * 64,
    evaluation_uri="s3://b/evaluation.json",
    training_set_id="t",
    spec_sha256="d" * 64,
    spec_uri="s3://b/spec.json",
    execution="e",
    since="2017-08-07T00:00:00Z",
    artifact_sha256="a" * 64,
    container_sha256="c" * 64,
)


class Clients:
    """A rollout table with a pointer, and a bucket with a baseline; ``code`` is S3's error."""

    def __init__(self, live: LivePointer | None, body: bytes = b"", code: str | None = None) -> None:
        self.live, self.body, self.code = live, body, code

    def __call__(self, _: str) -> Any:
        """Return the client of a service."""
        return self

    def get_item(self, **_: Any) -> dict[str, Any]:
        """Return the endpoint's row."""
        pointer = {} if self.live is None else {"live": {"S": canonical_json(self.live).decode()}}
        return {"Item": {"endpoint": {"S": "crm-churn"}, **pointer}}

    def get_object(self, **_: Any) -> dict[str, Any]:
        """Return the baseline."""
        if self.code is not None:
            raise ClientError({"Error": {"Code": self.code, "Message": "no"}}, "GetObject")
        return {"Body": io.BytesIO(self.body)}


def test_the_live_models_columns_are_known() -> None:
    """Numbers and texts separately."""
    found = live_baseline(ENTRY, Clients(LIVE, canonical_json(BASELINE)))
    assert found == BASELINE
    inputs = ModelInputs.of(BASELINE)
    assert inputs == ModelInputs(names=("price", "store"), texts=frozenset({"store"}))
    assert inputs.fit({"store": 7.0, "price": 1, "day": "x"}) == {"price": 1, "store": "7"}
    assert inputs.fit({"store": True, "price": None}) == {"price": None, "store": True}
    assert inputs.fit({"store": 7.5}) == {"store": 7.5}


@pytest.mark.parametrize(
    "clients",
    [Clients(None), Clients(LIVE, b"{}"), Clients(LIVE, code="AccessDenied"), Clients(LIVE, code="NoSuchKey")],
)
def test_without_a_baseline_nothing_is_known(clients: Clients) -> None:
    """Nothing serves, another version wrote it, or the caller may not read it."""
    assert live_baseline(ENTRY, clients) is None


def test_fails_on_what_is_no_refusal() -> None:
    """An unavailable service is not a missing baseline."""
    with pytest.raises(ClientError, match="SlowDown"):
        live_baseline(ENTRY, Clients(LIVE, code="SlowDown"))
