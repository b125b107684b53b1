"""Valid labels of each kind of model, and their format in ground truth records."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.labels.label_kind import LabelKind

BASELINE = Baseline(features=(), rows=1, training_set_id="t", created="2017-08-07")
CLASSES = LabelKind(kind="classes", classes=("1", "barolo", "7"))


@pytest.mark.parametrize(
    ("baseline", "expected"),
    [
        (BASELINE, LabelKind(kind="number")),
        (replace(BASELINE, target="regression"), LabelKind(kind="number")),
        (replace(BASELINE, target="classification"), LabelKind(kind="probability")),
        (
            replace(BASELINE, target="classes", classes=("a", "b", "c")),
            LabelKind(kind="classes", classes=("a", "b", "c")),
        ),
        (replace(BASELINE, target="outputs", outputs=("x", "y")), LabelKind(kind="outputs", outputs=("x", "y"))),
    ],
)
def test_the_baseline_says_what_a_label_is(baseline: Baseline, expected: LabelKind) -> None:
    """The monitors read it in the same way."""
    assert LabelKind.of(baseline) == expected


@pytest.mark.parametrize(
    ("kind", "values", "text"),
    [
        (LabelKind(kind="number"), [7], "7"),
        (LabelKind(kind="number"), [7.0], "7"),
        (LabelKind(kind="number"), ["1e3"], "1000"),
        (LabelKind(kind="number"), [Decimal("2.5")], "2.5"),
        (LabelKind(kind="number"), [-0.1], "-0.1"),
        (LabelKind(kind="outputs", outputs=("x", "y")), [81.5, 36], "81.5,36"),
        (LabelKind(kind="probability"), [True], "1"),
        (LabelKind(kind="probability"), ["False"], "0"),
        (LabelKind(kind="probability"), [1.0], "1"),
        (CLASSES, ["barolo"], "barolo"),
        (CLASSES, [1.0], "1"),
        (CLASSES, [" 7 "], "7"),
        (LabelKind(), ["anything"], "anything"),
        (LabelKind(), [2.5], "2.5"),
    ],
)
def test_labels_have_one_form(kind: LabelKind, values: list[Any], text: str) -> None:
    """A label has the same text for any type, so that a repeated upload changes nothing."""
    assert kind.text(values) == text


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (LabelKind(kind="number"), "many"),
        (LabelKind(kind="number"), True),
        (LabelKind(kind="number"), "1_000"),
        (LabelKind(kind="number"), float("inf")),
        (LabelKind(kind="number"), 1e39),
        (LabelKind(kind="number"), np.datetime64("2017-08-07")),
        (LabelKind(kind="outputs", outputs=("x",)), "1,2"),
        (LabelKind(kind="probability"), 0.7),
        (LabelKind(kind="probability"), "yes"),
        (CLASSES, "barbera"),
        (CLASSES, 2),
        (LabelKind(), [1]),
    ],
)
def test_fails_on_what_is_not_a_label(kind: LabelKind, value: object) -> None:
    """Each kind has its own checks; a Boolean is not a number."""
    with pytest.raises(ValueError, match=r".*"):
        kind.text([value])
