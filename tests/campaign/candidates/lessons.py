"""Bad candidates with wrong training data: from the future, the holdout, the past, few rows, other labels."""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from examples.retail.demand_forecasting import data
from tests.campaign.candidates import trained
from tests.campaign.candidates.kinds import Candidate, Case, Kind
from tests.campaign.candidates.world import HOLDOUT_WEEKS, categories, rows, splits


def _fitted(case: Case, table: Any, **settings: Any) -> bytes:
    return trained.fitted(table, seed=case.seed, **settings).pack()


def _future(case: Case, weeks: int) -> Candidate:
    """Cut the training set too late: its training split contains weeks of the holdout, and its manifest does not say so."""
    table = rows(data.FIRST_WEEK, case.week - HOLDOUT_WEEKS + weeks)
    return Candidate(archive=_fitted(case, table), splits=replace(case.splits, train=table))


def _overfit(case: Case, times: int) -> Candidate:
    """Overfit the holdout; the training set itself is correct."""
    parts = [case.splits.train] if times < 20 else []
    table = pa.concat_tables([*parts, *[case.splits.holdout] * times])
    return Candidate(archive=_fitted(case, table, num_leaves=255, min_data_in_leaf=1, learning_rate=0.1))


def _stale(case: Case, week: int) -> Candidate:
    """Train and measure on the training set of a week long ago."""
    old = splits(week)
    return Candidate(archive=_fitted(case, old.train), splits=old)


def _past(case: Case, last: int) -> Candidate:
    return Candidate(archive=_fitted(case, rows(data.FIRST_WEEK, last)))


def _few(case: Case, count: int) -> Candidate:
    chosen = case.random().choice(case.splits.train.num_rows, count, replace=False)
    return Candidate(archive=_fitted(case, case.splits.train.take(np.sort(chosen)), min_data_in_leaf=5))


def _mixed(case: Case, share: float) -> Candidate:
    table, random = case.splits.train, case.random()
    units = table["units"].to_numpy().copy()
    chosen = np.flatnonzero(random.random(len(units)) < share)
    units[chosen] = units[random.permutation(chosen)]
    table = table.set_column(table.column_names.index("units"), "units", pa.array(units))
    return Candidate(archive=_fitted(case, table))


def _quantile(case: Case, alpha: float) -> Candidate:
    return Candidate(archive=_fitted(case, case.splits.train, objective="quantile", alpha=alpha))


def _elasticity(case: Case, share: float) -> Candidate:
    chosen = np.flatnonzero(case.random().random(case.splits.train.num_rows) < share)
    return Candidate(archive=trained.by_script(case.splits.train.take(chosen), "elasticity.py").pack())


def _narrow(case: Case, count: int) -> Candidate:
    table = case.splits.train
    known = set(categories(table)[:count])
    chosen = np.flatnonzero([category in known for category in table["category"].to_pylist()])
    return Candidate(archive=_fitted(case, table.take(chosen)))


def _graded(*values: float) -> tuple[tuple[str, Any], ...]:
    return tuple(zip(("mild", "plain", "severe"), values, strict=True))


KINDS = (
    Kind(
        name="trained on the future",
        says="the training split holds 1, 2 or 4 weeks of the holdout",
        layer="gate",
        severities=_graded(1, 2, 4),
        make=_future,
    ),
    Kind(
        name="overfit to the holdout",
        says="trained on the holdout too: once, five times, or only on the holdout",
        layer="gate",
        severities=_graded(1, 5, 20),
        make=_overfit,
    ),
    Kind(
        name="stale training set",
        says="trained and measured on the set of week 28, 24 or 20",
        layer="gate",
        severities=_graded(28, 24, 20),
        make=_stale,
    ),
    Kind(
        name="only old rows",
        says="trained on weeks up to 14, 12 or 10",
        layer="gate",
        severities=_graded(14, 12, 10),
        make=_past,
    ),
    Kind(
        name="few rows",
        says="trained on 1000, 300 or 100 rows",
        layer="gate",
        severities=_graded(1000, 300, 100),
        make=_few,
    ),
    Kind(
        name="labels mixed up",
        says="30, 60 or 100 % of the labels belong to other rows",
        layer="gate",
        severities=_graded(0.3, 0.6, 1.0),
        make=_mixed,
    ),
    Kind(
        name="another objective",
        says="forecasts the quantile 0.7, 0.9 or 0.2 instead of the median",
        layer="gate",
        severities=_graded(0.7, 0.9, 0.2),
        make=_quantile,
    ),
    Kind(
        name="elasticity regression",
        says="the regression that cannot take zeros, from all rows, a half or a tenth",
        layer="gate",
        severities=_graded(1.0, 0.5, 0.1),
        make=_elasticity,
    ),
    Kind(
        name="narrow training",
        says="trained on the 12, 6 or 1 largest categories",
        layer="gate",
        severities=_graded(12, 6, 1),
        make=_narrow,
    ),
)
