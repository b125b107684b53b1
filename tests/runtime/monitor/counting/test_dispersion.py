"""Design effects of clustered rows, over the whole baseline and about the shares of each row's stratum."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import linalg

from mlops_runtime.monitor.counting import dispersion
from mlops_runtime.monitor.counting.dispersion import (
    cluster_hours,
    degrees_of_freedom,
    design_effects,
    mean_design_effect,
    union_jumps,
)


def clustered(random: np.random.Generator, clusters: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return cells and clusters; each cluster has its own shares."""
    shares = random.dirichlet(np.full(size, 2.0), clusters)
    rows = random.integers(1, 12, clusters)
    cells = np.concatenate([random.choice(size, n, p=p) for n, p in zip(rows, shares, strict=True)])
    return cells.astype(np.int64), np.repeat(np.arange(clusters), rows).astype(np.int64)


def test_they_are_the_generalised_eigenvalues() -> None:
    """The mean and each cell's effect equal those of the covariance matrices by definition."""
    cells, clusters = clustered(np.random.default_rng(1), 400, 6)
    found = design_effects(cells, 6, clusters)
    table = np.zeros((400, 6))
    np.add.at(table, (clusters, cells), 1)
    share = table.sum(axis=0) / table.sum()
    residual = table - table.sum(axis=1, keepdims=True) * share
    between = residual.T @ residual * 400 / 399 / table.sum()
    multinomial = np.diag(share) - np.outer(share, share)
    eigenvalues = linalg.eigh(between[:5, :5], multinomial[:5, :5], eigvals_only=True)
    assert found.mean == pytest.approx(eigenvalues.mean(), rel=1e-9)
    assert found.cells == pytest.approx(np.diag(between) / np.diag(multinomial), rel=1e-9)


def test_independent_rows_have_none() -> None:
    """With one row per cluster the mean is 1 without spread, up to sampling error."""
    cells = np.random.default_rng(2).integers(0, 10, 20_000)
    found = design_effects(cells, 10, np.arange(20_000))
    assert found.mean == pytest.approx(1, abs=0.02)
    assert found.spread == pytest.approx(0, abs=0.02)
    alone = design_effects(cells, 10, np.zeros(20_000, dtype=np.int64))
    assert design_effects(cells, 10, None) == replace(alone, clusters=None)
    assert (found.clusters, alone.clusters) == (20_000, 1)


def test_clusters_are_fewer_by_what_their_strata_take() -> None:
    """Strata reduce the degrees of freedom: ten weeks in five strata count like six weeks without strata."""
    weeks = np.repeat(np.arange(10), 50)
    cells = np.random.default_rng(3).integers(0, 4, 500)
    assert design_effects(cells, 4, weeks).clusters == 10
    assert design_effects(cells, 4, weeks, weeks % 5).clusters == 6
    assert design_effects(np.zeros(500, dtype=np.int64), 4, weeks).clusters == 10


def test_repeated_rows_have_as_many_as_the_repeats() -> None:
    """Ten equal rows per cluster have a design effect of ten."""
    cells = np.repeat(np.random.default_rng(3).integers(0, 8, 3000), 10)
    found = design_effects(cells, 8, np.repeat(np.arange(3000), 10))
    assert found.mean == pytest.approx(10, rel=0.05)
    assert found.spread < 0.02
    assert found.cells == pytest.approx([10] * 8, rel=0.1)


def test_the_spread_is_that_of_unequal_effects() -> None:
    """If half of the information is repeated tenfold, the spread is Satterthwaite's."""
    random = np.random.default_rng(4)
    # the first part of the cell is common to a cluster, the second differs by row
    shared, own = np.repeat(random.integers(0, 2, 4000), 10), random.integers(0, 2, 40_000)
    found = design_effects(shared * 2 + own, 4, np.repeat(np.arange(4000), 10))
    effects = np.array([10.0, 1.0, 1.0])
    assert found.mean == pytest.approx(effects.mean(), rel=0.05)
    assert found.spread == pytest.approx(effects.var() / effects.mean() ** 2, rel=0.1)


def test_few_clusters_do_not_inflate_the_spread() -> None:
    """Corrects the spread of thirty clusters with equal effects from about 9/29 to nearly zero on average."""
    random = np.random.default_rng(5)
    spreads = [
        design_effects(np.repeat(random.integers(0, 10, 300), 2), 10, np.repeat(np.arange(30), 20)).spread
        for _ in range(60)
    ]
    assert np.mean(spreads) < 0.12


def test_tables_in_pieces_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables processed in pieces, to bound the memory, give the same effects."""
    cells, clusters = clustered(np.random.default_rng(6), 500, 7)
    order = np.random.default_rng(7).permutation(len(cells))
    whole = design_effects(cells, 7, clusters)
    monkeypatch.setattr(dispersion, "_TABLE", 70)
    pieces = design_effects(cells[order], 7, clusters[order])
    assert pieces.mean == pytest.approx(whole.mean, rel=1e-12)
    assert pieces.spread == pytest.approx(whole.spread, rel=1e-9)
    assert pieces.cells == pytest.approx(whole.cells, rel=1e-12)


def test_of_a_mean() -> None:
    """The effect of a mean skips nulls; equal rows of a cluster count as one; a constant has an effect of 1."""
    random = np.random.default_rng(8)
    values = np.repeat(random.lognormal(size=2000), 5)
    values[random.random(10_000) < 0.1] = np.nan
    assert mean_design_effect(values, np.repeat(np.arange(2000), 5)) == pytest.approx(1 + 4 * 0.9, rel=0.1)
    assert mean_design_effect(values, None) == 1.0
    assert mean_design_effect(np.full(4, np.nan), np.arange(4)) == 1.0
    assert mean_design_effect(np.full(4, 2.0), np.arange(4)) == 1.0


def test_clusters_that_are_sums_of_many_have_no_excess_and_clusters_of_one_kind_do() -> None:
    """Normal variation of shares adds no excess variance; one cluster in fifty with its own shares does."""
    random = np.random.default_rng(10)
    clusters = np.repeat(np.arange(1000), 100)
    shares = np.clip(random.normal(0.5, 0.1, 1000), 0, 1)
    normal = design_effects((random.random(100_000) < shares[clusters]).astype(np.int64), 2, clusters)
    kinds = np.where(random.random(1000) < 0.02, 0.6, 0.02)
    heavy = design_effects((random.random(100_000) < kinds[clusters]).astype(np.int64), 2, clusters)
    assert normal.rows == heavy.rows == 100
    assert normal.excess < 0.5
    assert heavy.excess > 10


def test_jumps_are_the_rows_that_come_at_once() -> None:
    """Jumps are the rows that come together: ten equal rows, or sixty where one cluster in fifty has sixty of a level."""
    random = np.random.default_rng(11)
    repeated = design_effects(np.repeat(random.integers(0, 8, 3000), 10), 8, np.repeat(np.arange(3000), 10))
    assert repeated.jumps == pytest.approx([10] * 8, rel=0.15)
    clusters = np.repeat(np.arange(1000), 100)
    kinds = np.where(random.random(1000) < 0.02, 0.6, 0.005)
    rare = design_effects((random.random(100_000) < kinds[clusters]).astype(np.int64), 2, clusters)
    assert rare.cells[1] < 45
    assert rare.jumps[1] == pytest.approx(58, rel=0.1)
    assert design_effects(np.array([0, 1]), 3, None).jumps == (1.0, 1.0, 1.0)


def by_hour(random: np.random.Generator, *, days: int = 20, tau: float = 0.0) -> tuple[np.ndarray, ...]:
    """Return cells, hours of the day and hourly clusters: shares vary over the day, and a little between hours."""
    hours = np.arange(24 * days)
    share = np.clip(0.5 + 0.4 * np.sin(2 * np.pi * hours / 24) + random.normal(0, tau, len(hours)), 0.01, 0.99)
    rows = np.repeat(hours, 100)
    return (random.random(len(rows)) < share[rows]).astype(np.int64), rows % 24, rows


def test_what_a_stratum_explains_is_no_variance_of_clusters() -> None:
    """Hourly clusters vary over the whole baseline, and are independent rows about their own stratum."""
    cells, hours, clusters = by_hour(np.random.default_rng(1))
    assert design_effects(cells, 2, clusters).mean > 20
    within = design_effects(cells, 2, clusters, hours)
    assert within.mean == pytest.approx(1, abs=0.15)
    values = cells.astype(np.float64)
    assert mean_design_effect(values, clusters) > 20
    assert mean_design_effect(values, clusters, hours) == pytest.approx(1, abs=0.15)


def test_clusters_across_strata_keep_what_they_share() -> None:
    """The variation of whole days remains after strata of hours are taken out."""
    random = np.random.default_rng(2)
    cells, hours, clusters = by_hour(random, days=60)
    days = clusters // 24
    moved = (random.random(len(cells)) < random.normal(0, 0.1, 60)[days]) & (cells == 0)
    cells = np.where(moved, 1, cells)
    within = design_effects(cells, 2, days, hours)
    assert within.mean > 3
    assert design_effects(cells, 2, clusters, hours).mean < within.mean / 3


def test_one_stratum_is_none() -> None:
    """A single stratum gives exactly the result without strata."""
    cells, clusters = clustered(np.random.default_rng(3), 300, 5)
    assert design_effects(cells, 5, clusters, np.zeros_like(clusters)) == design_effects(cells, 5, clusters)


def test_degrees_of_freedom_are_those_of_the_residuals() -> None:
    """One fewer than clusters if each covers all strata; one fewer per stratum if each lies within one."""
    _, hours, clusters = by_hour(np.random.default_rng(4), days=10)
    assert degrees_of_freedom(clusters // 24, hours) == pytest.approx(9)
    assert degrees_of_freedom(clusters, hours) == pytest.approx(24 * 9)
    assert degrees_of_freedom(clusters) == pytest.approx(239)


def test_clusters_of_time_have_a_length() -> None:
    """Hours and days have a length, in any row order; households, which recur at any time, and single clusters have none."""
    times = np.datetime64("2017-03-06T00:30:00") + np.arange(240) * np.timedelta64(1, "h")
    order = np.random.default_rng(9).permutation(240)
    assert cluster_hours(np.arange(240)[order], times[order]) == 1.0
    assert cluster_hours((np.arange(240) // 24)[order], times[order]) == 24.0
    assert cluster_hours(np.arange(240) % 7, times) is None
    assert cluster_hours(np.zeros(240, dtype=np.int64), times) is None
    assert cluster_hours(np.arange(240), np.full(240, np.datetime64("NaT"), dtype="datetime64[s]")) is None


@pytest.mark.parametrize("given", [False, True])
def test_a_union_of_cells_comes_as_one_cell_would(given: bool) -> None:
    """Cells combine as one cell: single cells agree with `design_effects`, unions with that of the joined cell; also in pieces."""
    random = np.random.default_rng(21)
    clusters, strata = np.repeat(np.arange(200), 10), random.integers(0, 3, 2000) if given else None
    cells = (random.integers(0, 2, 200)[clusters] + random.integers(0, 3, 2000)).astype(np.int64)
    unions = np.array([[True, False, False, False], [True, True, False, False], [False, False, False, True]])
    found = union_jumps(cells, unions, clusters, strata)
    each = design_effects(cells, 4, clusters, strata).jumps
    merged = design_effects(np.where(cells < 2, 0, 1), 2, clusters, strata).jumps
    assert found == pytest.approx((each[0], merged[0], each[3]))
    assert union_jumps(cells, unions, None) == union_jumps(cells, unions, np.zeros(2000, dtype=np.int64)) == (1.0,) * 3
