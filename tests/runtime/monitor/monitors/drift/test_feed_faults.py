"""Feed faults and real changes, on rows with each fault and with planted drift."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count_columns
from mlops_runtime.monitor.monitors.drift.decision import decide, unreadable
from mlops_runtime.monitor.spec import MonitorSpec

Wide = npt.NDArray[np.float64]
Maker = Callable[[np.random.Generator, int], Wide]
Change = Callable[[np.random.Generator, Wide], Wide]

NUMBERS: dict[str, Maker] = {
    "prices": lambda random, rows: random.lognormal(1, 0.8, rows),
    "weights": lambda random, rows: random.normal(100, 15, rows),
    "counts": lambda random, rows: random.poisson(3, rows).astype(float),
    "sales": lambda random, rows: random.gamma(2, 3, rows) * (random.random(rows) < 0.4),
    "degrees": lambda random, rows: random.normal(0, 8, rows),
}


def part(factor: float, share: float) -> Change:
    """Return a change of the unit in a part of the rows."""
    return lambda random, values: np.where(random.random(len(values)) < share, values * factor, values)


CHANGES: dict[str, Change] = {
    "a fifth more": lambda _, values: values * 1.2,
    "doubled": lambda _, values: values * 2,
    "tripled": lambda _, values: values * 3,
    "fewer": lambda _, values: values * 0.7,
    "a standard deviation more": lambda _, values: values + values.std(),
    "wider": lambda _, values: (values - values.mean()) * 2 + values.mean(),
    "half of them zero": lambda random, values: np.where(random.random(len(values)) < 0.5, 0, values),
    "a few larger": part(5, 0.03),
}


def fault_of(trained: Any, live: Any, *, kind: Any = "number") -> tuple[bool, str | None]:
    """Return whether a feature drifted, and the fault of its feed."""
    baseline = fit_baseline({"x": trained}, types={"x": kind}, training_set_id="t", created="2017-08-01T00:00:00Z")
    drift = decide(baseline, count_columns({"x": live}, baseline), MonitorSpec())[0]
    assert drift.drifted or drift.feed_fault is None
    return drift.drifted, drift.feed_fault


@pytest.mark.parametrize("rows", [1000, 20_000])
@pytest.mark.parametrize("name", NUMBERS)
def test_another_unit_is_told_by_its_factor(name: str, rows: int) -> None:
    """Reports another unit by its factor, such as cents for euros, in all or some rows, and never for a real change."""
    random = np.random.default_rng(1)
    trained = NUMBERS[name](random, 20_000)
    for factor, words in ((100, "multiplied by 100"), (1000, "multiplied by 1,000"), (0.01, "divided by 100")):
        _, fault = fault_of(trained, NUMBERS[name](random, rows) * factor)
        assert fault == f"values look {words} in all rows"
    _, fault = fault_of(trained, part(100, 0.3)(random, NUMBERS[name](random, rows)))
    assert fault is not None
    assert fault.startswith("values look multiplied by 100 in ")
    for change, apply in CHANGES.items():
        drifted, fault = fault_of(trained, apply(random, NUMBERS[name](random, rows)))
        assert fault is None, change
        assert drifted or rows == 1000 or change == "a few larger", change


def test_a_constant_is_no_unit() -> None:
    """A column that is all 0, all one value, or was constant in the baseline has no unit fault."""
    random = np.random.default_rng(7)
    trained = random.lognormal(1, 0.8, 5000)
    assert [fault_of(trained, np.full(1000, value)) for value in (0.0, 5.0, 1e30)] == [(True, None)] * 3
    assert fault_of(np.full(5000, 7.0), np.full(1000, 8.0)) == (True, None)
    assert fault_of(np.zeros(5000), np.full(1000, 100.0)) == (True, None)


def test_nulls_that_jump_are_a_fault() -> None:
    """10 % nulls after 1 % is a fault; 12.5 % after 10 % is drift and no jump."""
    random = np.random.default_rng(2)

    def holed(share: float, rows: int) -> Wide:
        values = random.lognormal(1, 0.8, rows)
        values[random.random(rows) < share] = np.nan
        return values

    for before, after, expected in ((0.01, 0.1, True), (0.0, 1.0, True), (0.3, 0.45, True), (0.1, 0.16, False)):
        drifted, fault = fault_of(holed(before, 20_000), holed(after, 5000))
        assert (drifted, fault is not None and fault.startswith("null in ")) == (True, expected)


def levels(random: np.random.Generator, names: Sequence[str], rows: int) -> Any:
    """Return rows of levels."""
    return random.choice(list(names), rows).tolist()


def test_renamed_levels_are_a_fault_and_a_new_store_is_not() -> None:
    """Codes in another spelling are a fault; one new store of twenty is not."""
    random = np.random.default_rng(3)
    stores = [f"store {number}" for number in range(19)]
    trained = levels(random, stores, 20_000)
    renamed = [name.upper() for name in levels(random, stores, 2000)]
    assert fault_of(trained, renamed, kind="category") == (
        True,
        "levels that were not in training in 100 % of the rows",
    )
    assert fault_of(trained, levels(random, [*stores, "store 19"], 2000), kind="category") == (True, None)


def test_values_of_another_type_are_a_fault() -> None:
    """A decimal comma, which turns a number into text, is a fault."""
    random = np.random.default_rng(4)
    live = [
        f"{value:.2f}".replace(".", ",") if place % 5 == 0 else value for place, value in enumerate(random.random(1000))
    ]
    assert fault_of(random.random(20_000), live) == (True, "20 % of the values are not of type number")


def test_rows_that_cannot_be_read_are_a_fault() -> None:
    """A missing column changes the schema and is a fault."""
    baseline = fit_baseline(
        {"x": np.random.default_rng(5).random(2000)},
        types={"x": "number"},
        training_set_id="t",
        created="2017-08-01T00:00:00Z",
    )
    window = count_columns({"x": np.random.default_rng(6).random(100)}, baseline)
    (found,) = unreadable(replace(window, malformed=900, problems={"row_width[1,2]": 900}), MonitorSpec())
    assert found.feed_fault == found.description


def test_another_unit_is_told_beside_real_drift() -> None:
    """Finds minutes sent as seconds in a calmer week than the baseline's, with the distribution of flight delays."""
    random = np.random.default_rng(3)
    trained = random.normal(-4, 4, 20_000) + random.exponential(40, 20_000) * (random.random(20_000) < 0.4)
    calm = random.normal(-5, 4, 6_000) + random.exponential(35, 6_000) * (random.random(6_000) < 0.25)
    drifted, fault = fault_of(trained, calm)
    assert drifted
    assert fault is None
    for factor in (60, 1000, 0.01):
        _, fault = fault_of(trained, calm * factor)
        assert fault is not None, factor
        assert fault.endswith("in all rows")
