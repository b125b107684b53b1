"""Inputs and predictions of an endpoint's live model, from its baseline."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from mlops_runtime.contracts import ContractError, from_json
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.contracts.rollout import LivePointer
from mlops_runtime.contracts.unit_entries import EndpointEntry
from mlops_runtime.refused_calls import NO_OBJECT, Tolerated
from mlops_runtime.rollout.rollout_table import RolloutTable

_NOT_THERE = (*NO_OBJECT, "AccessDeniedException", "NoSuchBucket", "ResourceNotFoundException")


def live_baseline(entry: EndpointEntry, client: Callable[[str], Any]) -> Baseline | None:
    """Return the baseline of the live model.

    Args:
        entry: Entry that the endpoint's stack published.
        client: Returns a boto3 client for a service name.

    Returns:
        None if there is no live model or the caller may not read its baseline: its columns are then unknown.
    """
    with Tolerated(*_NOT_THERE), suppress(ContractError):
        live = RolloutTable(client("dynamodb"), entry.rollout_table, entry.endpoint).read().live
        if live is None:
            return None
        bucket, _, key = from_json(LivePointer, live).baseline_uri.removeprefix("s3://").partition("/")
        return from_json(Baseline, client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInputs:
    """The input columns of a model.

    Example:
        >>> inputs = ModelInputs(names=("price", "store"), texts=frozenset({"store"}))
        >>> inputs.fit({"price": 2.5, "store": 7, "day": "2017-08-07"})
        {'price': 2.5, 'store': '7'}
    """

    names: tuple[str, ...]  # all input columns
    texts: frozenset[str]  # the text columns among them

    @classmethod
    def of(cls, baseline: Baseline) -> "ModelInputs":
        """Return the inputs of the model that a baseline describes."""
        texts = frozenset(feature.name for feature in baseline.features if feature.type == "category")
        return cls(names=tuple(feature.name for feature in baseline.features), texts=texts)

    def fit(self, row: Mapping[str, object]) -> dict[str, object]:
        """Return a row with only the model's columns, and integers of text columns as text."""
        return {name: self._fit(name, row[name]) for name in self.names if name in row}

    def _fit(self, name: str, value: object) -> object:
        if name not in self.texts or not isinstance(value, int | float) or isinstance(value, bool):
            return value
        return str(int(value)) if float(value).is_integer() else value
