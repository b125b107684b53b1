"""Requests of a plan that are not the arguments of one AWS call, and their JSON.

A request that is not made is ``None`` in Python and an empty object in the document, because the machine's JSONata expressions test
fields of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from mlops_runtime.contracts import to_dict
from mlops_runtime.contracts.serving import GoldenSpec
from mlops_runtime.rollout.evidence_requests import PairsRequest, VerdictRequest

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.type_defs import (
        CreateEndpointConfigInputTypeDef,
        CreateEndpointInputTypeDef,
        UpdateEndpointInputTypeDef,
    )

REQUEST: Mapping[str, bool] = {"is_request": True}  # metadata of a field with a request


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanPart:
    """A plan, or a request in it."""

    def as_dict(self) -> dict[str, object]:
        """Return the part as JSON with every key, ``null`` without a value: a JSONata expression fails on an undefined field."""
        return {
            f.name: self._document(getattr(self, f.name), is_request="is_request" in f.metadata) for f in fields(self)
        }

    @staticmethod
    def _document(value: object, *, is_request: bool) -> object:
        if isinstance(value, PlanPart):
            return value.as_dict()
        return {} if value is None and is_request else to_dict(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalRequest(PlanPart):
    """Request to send the golden requests to a candidate on an endpoint of its own."""

    config: "CreateEndpointConfigInputTypeDef"
    endpoint: "CreateEndpointInputTypeDef"
    golden: GoldenSpec
    answers: str  # key of the answers
    live_endpoint: str | None  # endpoint whose answers are compared. `None` for none


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowRequest(PlanPart):
    """Request to copy calls of the live model to a candidate, and to compare both."""

    config: "CreateEndpointConfigInputTypeDef"
    update: "UpdateEndpointInputTypeDef"
    variant: str
    bake: int  # seconds
    period: int  # seconds of a datapoint
    verdict: VerdictRequest
    pairs: PairsRequest | None = field(metadata=REQUEST)
    # the policy's absolute limits, -1 errors or 0 microseconds without one; a JSONata expression cannot compare null
    max_errors: int
    max_latency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticRequest(PlanPart):
    """Request to send golden requests as calls in each poll."""

    golden: GoldenSpec
    calls: int
