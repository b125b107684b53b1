"""Kinds of bad candidates, and the parts of one candidate."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from tests.campaign.candidates.world import Artefact, Splits, splits

from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.serving.onnx_model import load_archive


@dataclass(frozen=True, kw_only=True)
class Case:
    """Base of a bad candidate: a good model, trained after a week with a seed."""

    week: int
    seed: int
    base: Artefact

    @property
    def splits(self) -> Splits:
        """The training set of the week."""
        return splits(self.week)

    @cached_property
    def predictions(self) -> Any:
        """The good model's predictions for the holdout."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tar.gz"
            path.write_bytes(self.base.pack())
            model = load_archive(path)
        return model.predict(model_input(self.splits.holdout, model.signature))

    def random(self) -> np.random.Generator:
        """Return a seeded random generator."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One candidate.

    Args:
        archive: The evaluated ``model.tar.gz``.
        served: The served archive, if another.
        image: Fault and amount of the serving image. Default: the unit's own image.
        splits: The training set of the evaluation. Default: that of its week.
    """

    archive: bytes
    served: bytes | None = None
    image: tuple[str, str] | None = None
    splits: Splits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of defect.

    Args:
        name: Its name.
        says: Description of the candidate.
        layer: Layer that should stop it: evaluation, gate, server, golden or canary.
        severities: Three severities by name, with their parameter.
        make: Makes a candidate.
    """

    name: str
    says: str
    layer: str
    severities: Sequence[tuple[str, Any]]
    make: Callable[[Case, Any], Candidate] = field(repr=False)
