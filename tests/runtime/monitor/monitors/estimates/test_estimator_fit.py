"""The estimator fitted to a labelled holdout: regression against a dense reference, rates, design effects, unusable holdouts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.runtime.monitor.monitors.estimates.holdouts import NAMES, Kind, estimator_of, learnt, window

from mlops_runtime.contracts import canonical_json, from_json
from mlops_runtime.contracts.monitor import Baseline
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.baseline_cells import Coded
from mlops_runtime.monitor.monitors.estimates.estimator_fit import Holdout, fit_estimator
from mlops_runtime.monitor.monitors.estimates.expectation import shown_columns
from mlops_runtime.monitor.monitors.estimates.support import unsupported
from mlops_runtime.monitor.monitors.rows import Rows


def one_hot(cells: np.ndarray, size: int) -> np.ndarray:
    """Return the indicators of cells."""
    return np.eye(size)[cells]


@given(st.integers(0, 1000), st.integers(2, 5), st.booleans())
@settings(max_examples=15, deadline=None)
def test_effects_are_those_of_a_ridge_regression_on_indicators(seed: int, levels: int, clustered: bool) -> None:
    """Also those of each replicate, whose squared deviations sum to the jackknife variance."""
    random = np.random.default_rng(seed)
    store, x = random.integers(0, levels, 300), random.normal(0, 1, 300)
    label = x + store + random.normal(0, 1, 300)
    clusters = random.integers(0, 12, 300) if clustered else None
    columns = {"store": Coded(store, [f"s{n}" for n in range(levels)])}
    baseline = fit_baseline(columns, types={"store": "category"}, training_set_id="t", created="2017-08-01T00:00:00Z")
    found = estimator_of(
        replace(
            baseline,
            estimator=fit_estimator(
                replace(baseline, target="regression"),
                Holdout(columns=columns, rows=Rows.of(x, label), clusters=clusters),
            ),
        )
    )
    names = baseline.features[0].levels
    cells = np.array([names.index(f"s{n}") for n in store])
    bins = np.searchsorted(np.array(found.scores[0].edges, dtype=np.float32), x.astype(np.float32), side="right")
    design = np.hstack([np.ones((300, 1)), one_hot(cells, levels + 2), one_hot(bins, len(found.scores[0].counts))])
    penalty = np.diag([0.0, *np.ones(design.shape[1] - 1)])
    loss = np.abs(x - label)
    beta = np.linalg.solve(design.T @ design + penalty, design.T @ loss)
    assert found.losses[0].name == "absolute"
    assert [found.losses[0].base, *found.losses[0].effects] == pytest.approx(beta, abs=1e-5)
    group = np.unique(clusters, return_inverse=True)[1] if clusters is not None else np.arange(300)
    groups = min(20, group.max() + 1)
    lines = []
    for out in range(groups):
        kept = group % groups != out
        lines.append(np.linalg.solve(design[kept].T @ design[kept] + penalty, design[kept].T @ loss[kept]))
    variance = (groups - 1) / groups * ((np.array(lines) - np.mean(lines, axis=0)) ** 2).sum(axis=0)
    assert (np.array(found.losses[0].deviations) ** 2).sum(axis=0) == pytest.approx(variance, rel=0.01, abs=1e-8)
    assert sum(found.labelled[0]) == sum(found.labelled[1]) == found.rows == 300


@pytest.mark.parametrize("kind", ["regression", "classification", "classes"])
def test_a_baseline_with_it_is_read_back_the_same(kind: Kind) -> None:
    """A baseline with an estimator survives JSON for every target, below 100 kB for four inputs."""
    baseline = learnt(kind, 3000, 1)
    written = canonical_json(baseline)
    assert from_json(Baseline, written) == baseline
    assert len(written) < 100_000
    assert {loss.name for loss in estimator_of(baseline).losses if loss.deviations} == {
        "regression": {"absolute", "squared", "actual"},
        "classification": {"wrong", "squared", "log_loss"},
        "classes": set(),
    }[kind]


def test_rates_are_the_holdouts_positives_in_bins_with_an_edge_at_the_threshold() -> None:
    """Rates are the holdout's positives per bin; the threshold is an edge, so that no bin is on both sides."""
    held = window("classification", 2000, 3)
    baseline = replace(learnt("classification", 2000, 3), positive=0.3)
    found = fit_estimator(baseline, Holdout(columns=held.columns, rows=held.rows))
    assert found is not None
    edges = np.array(found.scores[0].edges, dtype=np.float32)
    first = np.nextafter(np.float32(0.3), np.float32(1))
    assert first in edges
    cut = int(np.searchsorted(edges, first, side="right"))
    above = held.rows.prediction.astype(np.float32) > np.float32(0.3)
    assert np.array(found.rates[0].rows).sum(axis=0)[cut:].sum() == above.sum()
    assert np.array(found.rates[0].positives).sum(axis=0)[cut:].sum() == held.rows.label[above].sum()


def test_clusters_widen_what_is_known() -> None:
    """For rows with a common error per cluster, the design effect is about the cluster size."""
    random = np.random.default_rng(1)
    clusters = np.repeat(np.arange(100), 10)
    x = random.normal(0, 1, 1000)
    label = x + np.repeat(random.normal(0, 1, 100), 10)
    baseline = fit_baseline({"x": x}, types={"x": "number"}, training_set_id="t", created="2017-08-01T00:00:00Z")
    baseline = replace(baseline, target="regression")
    apart = fit_estimator(baseline, Holdout(columns={"x": x}, rows=Rows.of(x, label)))
    together = fit_estimator(baseline, Holdout(columns={"x": x}, rows=Rows.of(x, label), clusters=clusters))
    assert apart is not None and together is not None
    assert apart.losses[0].design_effect == pytest.approx(1.0, abs=0.01)
    assert 6 < together.losses[0].design_effect < 11


def test_levels_of_a_tail_are_one_cell_and_identifiers_none() -> None:
    """Tail levels share a cell and identifiers have none, because single effects would not be estimable."""
    random = np.random.default_rng(2)
    columns = {
        "store": [f"store {n}" for n in random.zipf(1.3, 1000) % 500],
        "basket": [f"basket {n}" for n in range(1000)],
    }
    baseline = fit_baseline(
        columns, types={"store": "category", "basket": "category"}, training_set_id="t", created="2017-08-01T00:00:00Z"
    )
    x = random.normal(0, 1, 1000)
    found = fit_estimator(replace(baseline, target="regression"), Holdout(columns=columns, rows=Rows.of(x, x + 1)))
    assert found is not None and found.columns == ("store",)
    assert len(found.labelled[0]) == 20 + 1 + 2 and sum(found.labelled[0]) == 1000


@pytest.mark.parametrize("why", ["few rows", "no labels", "one cluster", "vectors", "many outputs"])
def test_what_cannot_be_learnt_is_none(why: str) -> None:
    """Fewer than 200 labelled rows, one cluster, vectors and more than 20 outputs give no estimator."""
    held = window("regression", 150 if why == "few rows" else 400, 1)
    rows = replace(held.rows, label=np.full(400, np.nan)) if why == "no labels" else held.rows
    baseline = fit_baseline(
        held.columns, types=dict.fromkeys(NAMES, "number"), training_set_id="t", created="2017-08-01T00:00:00Z"
    )
    clusters = np.zeros(400, dtype=np.int64) if why == "one cluster" else None
    target = {"vectors": "vector", "many outputs": "outputs"}.get(why, "regression")
    outputs = tuple(map(str, range(21))) if why == "many outputs" else None
    baseline = replace(baseline, target=target, outputs=outputs)
    found = fit_estimator(baseline, Holdout(columns=held.columns, rows=rows, clusters=clusters))
    assert found is None


def test_a_tail_of_few_labelled_rows_is_a_part_of_its_tenth() -> None:
    """2,000 labelled rows have no thirty beyond a 1 % edge, 5,000 do, with the same baseline cells."""
    large = learnt("regression", 5000, 1)
    cells = len(large.features[0].counts)
    assert {len(labelled) for labelled in estimator_of(large).labelled[:4]} == {cells}
    few = window("regression", 2000, 2)
    found = fit_estimator(large, Holdout(columns=few.columns, rows=few.rows))
    assert found is not None
    assert {len(labelled) for labelled in found.labelled[:4]} == {cells - 6}
    columns = shown_columns(found, large, window("regression", 3000, 3).counts(large))
    assert [len(column.rows) for column in columns] == [len(labelled) for labelled in found.labelled]
    assert {float(column.rows.sum()) for column in columns} == {3000.0}
    assert unsupported(columns, found.rows) is None
