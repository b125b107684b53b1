"""Credentials without access, the rollout tests' world, and evaluations."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from tests.runtime.rollout import world as rollout_world

from mlops_runtime.contracts.model import Evaluation, LossBlock, SegmentLosses


@pytest.fixture(autouse=True)
def _nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@pytest.fixture
def world(_nobody: None) -> Iterator[Any]:
    """Return a new moto world."""
    with rollout_world.world() as made:
        yield made


def _blocks(losses: Mapping[str, Sequence[float]], rows: int) -> tuple[LossBlock, ...]:
    return tuple(
        LossBlock(
            block=str(i),
            rows=rows,
            actual_sum=10.0 * rows,
            absolute_error={name: values[i] for name, values in losses.items()},
        )
        for i in range(len(losses["candidate"]))
    )


@pytest.fixture(scope="session")
def evaluation() -> Callable[..., Evaluation]:
    """Make an evaluation of losses by block; ``segments`` maps ``column=value`` to losses by the same blocks."""

    def make(
        losses: Mapping[str, Sequence[float]],
        segments: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        **changes: Any,
    ) -> Evaluation:
        count = len(losses["candidate"])
        kept = None
        if segments is not None:
            kept = tuple(
                SegmentLosses(
                    column=name.partition("=")[0],
                    value=name.partition("=")[2],
                    rows=5 * len(parts["candidate"]),
                    blocks=_blocks(parts, 5),
                )
                for name, parts in segments.items()
            )
        made = Evaluation(
            metric="wape",
            metrics={name: sum(values) / (100.0 * count) for name, values in losses.items()},
            blocks=_blocks(losses, 10),
            rows=10 * count,
            trained_until="2017-07-01",
            holdout_from="2017-07-01",
            holdout_until="2017-08-01",
            artifact_sha256="a" * 64,
            model_sha256="b" * 64,
            training_set_id="t",
            baseline_uri="s3://b/baseline.json",
            baseline_sha256="8" * 64,
            non_finite=dict.fromkeys(losses, 0),
            segments=kept,
        )
        return replace(made, **changes)

    return make
