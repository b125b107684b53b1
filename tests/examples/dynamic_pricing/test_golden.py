"""The golden set of dynamic pricing: trained models pass it, deliberately bad models fail it."""

import numpy as np
import pyarrow as pa
import pytest
from examples.retail.dynamic_pricing import data, declaration
from examples.retail.dynamic_pricing.golden import COLUMNS, GOLDEN, golden_requests
from examples.retail.golden import render
from tests.examples.rehearsed import Changed, trained_model, verdict

from mlops_runtime.rollout import golden_rehearsal

CONTENT = GOLDEN.read_bytes()


@pytest.fixture(autouse=True)
def _one_round(monkeypatch):
    """Use one round, as a model in this process always gives the same answers."""
    monkeypatch.setattr(golden_rehearsal, "ROUNDS", 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a function that trains a script on weeks of the data."""

    def make(script="train.py", last=26):
        table = pa.concat_tables([data.series_of(week) for week in range(10, last + 1)])
        # with columns as in a training set
        table = table.select([*(name for name in table.column_names if name not in COLUMNS), *COLUMNS])
        folder = tmp_path_factory.mktemp("trained")
        return trained_model(folder, declaration.TRAINING_CODE / script, table)

    return make


@pytest.fixture(scope="module")
def good(trained):
    """The model of week 30."""
    return trained()


def test_the_file_is_what_the_script_writes():
    """The file is generated from the data alone."""
    assert render(golden_requests()) == CONTENT


def test_columns_are_in_the_order_of_the_training_set():
    """Groups are sorted by name as in the plan, since arrays and CSV are read by position."""
    planned = [name for names in declaration.TRAINING_SET.features.values() for name in names]
    assert [name for name in planned if name in COLUMNS] == [name for name in COLUMNS if name in planned]


def test_what_the_pipeline_would_train_passes(trained, good):
    """Covers a model of ten weeks later too, with the first one as the live model."""
    assert verdict(CONTENT, good)["passed"]
    found = verdict(CONTENT, trained(last=37), good, max_deviation=declaration.MAX_DEVIATION)
    assert found["passed"], found["reason"]


def test_the_regression_that_cannot_take_zeros_fails(trained):
    """Without sales its logarithm is undefined."""
    found = verdict(CONTENT, trained("loglog.py"))
    assert "nothing sold last week: the model returned 500" in found["reason"]


def test_what_only_large_batches_show_is_not_seen(trained):
    """The canary finds it, as its traffic has large batches."""
    assert verdict(CONTENT, trained("compiled.py"))["passed"]


CHANGES = {
    "in dozens": lambda answers: answers / 12,
    "negative": lambda answers: -answers,
    "constant": lambda answers: np.full(len(answers), 10.0),
    "not a number": lambda answers: answers * np.nan,
    "rows in another order": lambda answers: np.sort(answers) if len(answers) > 1 else answers,
}


@pytest.mark.parametrize("kind", CHANGES)
def test_planted_bad_models_fail(good, kind):
    """They fail without a live model for comparison."""
    assert not verdict(CONTENT, Changed(good, CHANGES[kind]))["passed"]
