"""Strata that vary more between clusters than others: separated from chance as far as their clusters allow."""

import numpy as np
import pytest

from mlops_runtime.contracts.monitor import StratumDispersion
from mlops_runtime.monitor.counting.baseline_cells import Coded
from mlops_runtime.monitor.counting.dispersion import design_effects
from mlops_runtime.monitor.counting.feature_baseline import category_baseline, number_baseline
from mlops_runtime.monitor.counting.stratum_effects import stratum_effects

ROWS = 60  # per stratum and cluster
CELLS = 5
# Dirichlet concentration: smaller values vary more between clusters
ALIKE, WIDE = 60.0, 4.0


def drawn(
    concentration: list[float], clusters: int, seed: int, *, rows: int = ROWS
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return cells, clusters and strata; each cluster has its own shares in each stratum."""
    random = np.random.default_rng(seed)
    cells, of, strata = [], [], []
    for stratum, each in enumerate(concentration):
        for cluster, share in enumerate(random.dirichlet(np.full(CELLS, each), clusters)):
            cells.append(random.choice(CELLS, rows, p=share))
            of.append(np.full(rows, cluster))
            strata.append(np.full(rows, stratum))
    return tuple(np.concatenate(part).astype(np.int64) for part in (cells, of, strata))  # type: ignore[return-value]


def found(
    concentration: list[float], clusters: int, seed: int, *, rows: int = ROWS
) -> tuple[StratumDispersion, ...] | None:
    """Return the measured effects of strata."""
    cells, of, strata = drawn(concentration, clusters, seed, rows=rows)
    within = design_effects(cells, CELLS, of, strata)
    return stratum_effects(cells, np.ones(CELLS, dtype=bool), of, strata, within)


def test_strata_that_vary_alike_are_taken_for_alike() -> None:
    """At most one of 60 baselines whose strata differ by chance alone reports a difference."""
    assert sum(found([ALIKE] * 20, 12, seed) is not None for seed in range(60)) <= 1


def test_a_stratum_that_varies_more_has_its_own_effect() -> None:
    """One of ten strata varies more: its design effect follows its own clusters, the others keep the common effect."""
    concentration = [ALIKE] * 9 + [WIDE]
    cells, of, strata = drawn(concentration, 60, 1)
    within = design_effects(cells, CELLS, of, strata)
    effects = stratum_effects(cells, np.ones(CELLS, dtype=bool), of, strata, within)
    assert effects is not None
    alone = strata == 9
    own = design_effects(cells[alone], CELLS, of[alone]).mean
    assert effects[9].times * within.mean == pytest.approx(own, rel=0.05)
    assert [one.times for one in effects[:9]] == [1.0] * 9
    assert effects[9].cluster_rows == ROWS
    # the estimate of 60 clusters, shrunk slightly towards that of all strata
    assert effects[9].clusters is not None
    assert 60 <= effects[9].clusters <= 70


def test_few_clusters_are_drawn_to_the_others() -> None:
    """With fewer clusters, the wide stratum's effect is nearer to the common one and less certain."""
    many, few = (found([ALIKE] * 9 + [WIDE], clusters, 5) for clusters in (60, 6))
    assert many is not None
    assert few is not None
    assert few[9].times > 1
    assert few[9].clusters is not None
    assert many[9].clusters is not None
    assert few[9].clusters < many[9].clusters


def test_a_stratum_in_one_cluster_alone_varies_as_all_do() -> None:
    """A stratum within one cluster takes the common effect."""
    cells, of, strata = drawn([ALIKE] * 9 + [WIDE], 40, 2)
    some = (strata < 9) | (of < 1)
    more = drawn([WIDE], 40, 3)
    cells, of = np.concatenate([cells[some], more[0]]), np.concatenate([of[some], more[1]])
    strata = np.concatenate([strata[some], more[2] + 10])
    effects = stratum_effects(cells, np.ones(CELLS, dtype=bool), of, strata, design_effects(cells, CELLS, of, strata))
    assert effects is not None
    assert effects[9] == StratumDispersion(times=1.0)
    assert effects[10].times > 1


def test_baselines_keep_it_for_clusters_given_conditions_only() -> None:
    """Only clustered baselines with conditions store it, for numbers and levels alike."""
    cells, clusters, strata = drawn([ALIKE] * 9 + [WIDE], 40, 4)
    levels = Coded(cells, [f"level {cell}" for cell in range(CELLS)])
    for fitted in (category_baseline, number_baseline):
        values = levels if fitted is category_baseline else cells.astype(np.float32)
        given = fitted("x", values, clusters=clusters, strata=strata).given
        assert given is not None
        assert given.strata is not None
        assert given.strata[9].times > 2
        assert fitted("x", values, clusters=clusters).given is None
        assert fitted("x", values, strata=strata).given is None
