"""What a kind of bad candidate is, and what one of them consists of."""

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
    """What a bad candidate is made of: a good one, trained after a week with a seed."""

    week: int
    seed: int
    base: Artefact

    @property
    def splits(self) -> Splits:
        """The training set of the week."""
        return splits(self.week)

    @cached_property
    def predictions(self) -> Any:
        """What the good one predicts for the holdout."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.tar.gz"
            path.write_bytes(self.base.pack())
            model = load_archive(path)
        return model.predict(model_input(self.splits.holdout, model.signature))

    def random(self) -> np.random.Generator:
        """Return random numbers that follow from the seed."""
        return np.random.default_rng(self.seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One candidate.

    Args:
        archive: ``model.tar.gz`` that is evaluated.
        served: What is served instead, if it is another.
        image: Fault and amount of the image that serves it. Default: the unit's own image.
        splits: The training set that is evaluated with. Default: that of its week.
    """

    archive: bytes
    served: bytes | None = None
    image: tuple[str, str] | None = None
    splits: Splits | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A way to be bad.

    Args:
        name: Its name.
        says: What the candidate does.
        layer: Which layer ought to stop it: evaluation, gate, server, golden or canary.
        severities: Three of them, by name, with what makes the difference.
        make: Makes one.
    """

    name: str
    says: str
    layer: str
    severities: Sequence[tuple[str, Any]]
    make: Callable[[Case, Any], Candidate] = field(repr=False)
