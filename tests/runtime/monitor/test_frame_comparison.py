"""Comparing two frames in one call: equal verdicts for all libraries, the output, and invalid inputs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.monitor import Condition, MonitorState
from mlops_runtime.contracts.monitor_report import MonitorReport
from mlops_runtime.monitor.frame_columns import FrameError
from mlops_runtime.monitor.frame_comparison import DriftFoundError, Reference, compare
from mlops_runtime.monitor.spec import MonitorSpec

AS: dict[str, Callable[[pa.Table], Any]] = {
    "arrow": lambda table: table,
    "polars": pl.from_arrow,
    "pandas": lambda table: table.to_pandas(),
    "pandas on Arrow": lambda table: table.to_pandas(types_mapper=pd.ArrowDtype),
}


def table(seed: int, *, rows: int = 4000, up: float = 1.0, payment: str = "cash") -> pa.Table:
    """Return rows of a shop."""
    random = np.random.default_rng(seed)
    return pa.table(
        {
            "price": random.lognormal(1, 0.4, rows) * up,
            "units": pa.array(np.where(random.random(rows) < 0.02, None, random.poisson(3, rows)).tolist(), pa.int64()),
            "store": pa.array([f"s{i}" for i in random.integers(0, 8, rows)]).dictionary_encode(),
            "payment": pa.array(np.where(random.random(rows) < 0.5, "card", payment).tolist()),
            "promoted": pa.array((random.random(rows) < 0.2).tolist()),
            "day": random.integers(0, 40, rows),
            "at": np.datetime64("2017-08-01", "s") + random.integers(0, 40 * 86_400, rows).astype("timedelta64[s]"),
        }
    )


@pytest.mark.parametrize("library", AS)
def test_every_library_has_the_same_verdict(library: str) -> None:
    """Cells, p-values and messages agree; `frame` returns the live rows' library."""
    of = AS[library]
    found = compare(of(table(1)), of(table(2, up=1.2)), timestamp="at")
    expected = compare(table(1), table(2, up=1.2), timestamp="at")
    assert [(f.name, f.p_value, f.psi) for f in found.features] == [
        (f.name, f.p_value, f.psi) for f in expected.features
    ]
    assert (found.drifted, found.state) == (("price",), MonitorState.VIOLATION)
    assert found.verdict.startswith("drift in this window: price (median rose 2")
    assert type(found.frame()) is type(of(table(1)))
    assert compare(of(table(1)), of(table(3)), timestamp="at").state is MonitorState.OK


def test_the_result_is_a_report_a_page_and_a_frame(tmp_path: Path) -> None:
    """The contract and page are the monitors'; a notebook shows the verdict and one row per column."""
    found = compare(table(1), table(2, up=1.2), timestamp="at", ignore=["day"])
    report = from_json(MonitorReport, found.json().encode())
    assert (report.drift.features, report.quality) == (found.features, None)
    assert found.to_dict() == json.loads(found.json())
    text = found.html(tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == text
    for words in ("median rose", "4,000 of them against 4,000 of the reference", "price"):
        assert words in text
    assert "<script" not in text
    assert repr(found) == found.verdict
    assert "<td>price</td><td>drifted</td>" in found._repr_html_()
    with pytest.raises(DriftFoundError, match="price"):
        found.raise_for_drift()
    compare(table(1), table(3), timestamp="at").raise_for_drift()


def test_what_was_left_out_is_in_the_verdict() -> None:
    """Names excluded dates and columns of one side; a missing column counts as nulls and drifts."""
    live = table(2).append_column("new", pa.array([1.0] * 4000)).drop_columns(["units"])
    found = compare(table(1), live)
    assert found.left_out["new"] == "the reference has no such column"
    assert "pass the column as timestamp=" in found.left_out["at"]
    assert found.drifted == ("units", "null_patterns")
    assert found.verdict.endswith("; left out: at, new")


def test_a_reference_is_fitted_once_for_many_frames() -> None:
    """A level outside a closed list is found far below a quarter of a percent."""
    reference = Reference(table(1, rows=20_000), timestamp="at", cluster="day")
    quiet = [reference.compare(table(seed)).state for seed in range(2, 6)]
    assert quiet == [MonitorState.OK] * 4
    late = table(7, rows=20_000).to_pandas()
    late.loc[:80, "payment"] = "voucher"
    assert reference.compare(late).drifted == ("payment",)


def test_values_of_another_type_drift() -> None:
    """Prices as text, and dates in place of numbers."""
    live = table(2).to_pandas()
    live["price"] = live["price"].map("{:.2f}".format).str.replace(".", ",")
    live["units"] = live["at"]
    found = {feature.name: feature for feature in compare(table(1), live, timestamp="at").features}
    assert str(found["price"].description) == "100 % of the values are not of type number"
    assert found["units"].drifted


def test_codes_predictions_and_conditions() -> None:
    """Supports numeric levels, a prediction column and conditions."""
    more = table(2).append_column("forecast", table(2)["price"])
    found = compare(
        table(1).append_column("forecast", table(1)["price"]),
        more,
        timestamp="at",
        prediction="forecast",
        categories=["day"],
        conditions=[Condition(name="promoted"), Condition(name="weekday", kind="day_of_week")],
    )
    assert {"prediction", "day"} <= {feature.name for feature in found.features}
    assert found.state is MonitorState.OK
    unknown = table(2).set_column(4, "promoted", pa.array(["flash"] * 4000))
    known = compare(table(1), unknown, timestamp="at", conditions=[Condition(name="promoted")])
    assert known.state is MonitorState.INSUFFICIENT_DATA
    assert "conditions that are not in the baseline" in known.verdict


def test_few_rows_say_so() -> None:
    """Ten rows of reference, or ten live rows, never give OK."""
    assert compare(table(1, rows=10), table(2)).state is not MonitorState.OK
    few = compare(table(1), table(2, rows=10))
    assert few.state is MonitorState.INSUFFICIENT_DATA
    assert few.verdict.startswith("10 rows are too few to decide about drift, 200 are needed")
    assert compare(table(1), table(2, rows=60), spec=MonitorSpec(minimum_rows=50)).features


@pytest.mark.parametrize("where", ["anywhere", "promoted"])
def test_infinities_of_a_reference_are_a_share_like_any_other(where: str) -> None:
    """An equal share is fine, also within one condition; a larger one is drift; a column of infinities is not tested."""

    def ratios(seed: int, share: float) -> pa.Table:
        random, rows = np.random.default_rng(seed), table(seed)
        promoted = rows["promoted"].to_numpy(zero_copy_only=False)
        of = promoted if where == "promoted" else np.ones(len(promoted), dtype=bool)
        broken = of & (random.random(len(of)) < share)
        return pa.table({"ratio": np.where(broken, np.inf, random.random(len(of))), "promoted": promoted})

    conditions = [Condition(name="promoted")] if where == "promoted" else []
    reference = Reference(ratios(1, 0.3), conditions=conditions)
    quiet = reference.compare(ratios(2, 0.3))
    assert quiet.state is MonitorState.OK, quiet.verdict
    more = reference.compare(ratios(3, 0.9))
    assert more.drifted == ("ratio",)
    assert {feature.rule for feature in more.features if feature.drifted} == {"infinite"}
    assert reference.compare(ratios(4, 2.0)).state is not MonitorState.OK
    assert compare(ratios(5, 2.0), ratios(6, 2.0)).state is (
        MonitorState.OK if conditions else MonitorState.INSUFFICIENT_DATA
    )


def test_a_condition_that_never_occurred_is_said() -> None:
    """Rows of a promotion that the reference lacks are not compared and prevent OK."""
    rows = table(1)
    reference = rows.filter(pc.invert(rows["promoted"]))
    found = compare(reference, rows.filter(rows["promoted"]), conditions=[Condition(name="promoted")])
    assert found.state is MonitorState.INSUFFICIENT_DATA
    assert (
        "values have conditions that are in the baseline"
        in {each.name: each for each in found.features}["price"].untested
    )
    part = compare(reference, rows, conditions=[Condition(name="promoted")])
    assert part.state is MonitorState.OK, part.verdict


def test_what_cannot_be_compared_is_named_at_once() -> None:
    """Names missing columns, empty frames and a reference without features."""
    with pytest.raises(FrameError, match=r"cluster 'a' is not .*; timestamp 'b' is not .*; ignore 'c' is not a column"):
        compare(table(1), table(2), cluster="a", timestamp="b", ignore=["c"])
    with pytest.raises(FrameError, match=r"the reference has no rows; the reference has 'price'"):
        compare(table(1).slice(0, 0), table(2))
    with pytest.raises(FrameError, match=r"the live rows have no column 'at'; there are no live rows"):
        compare(table(1), table(2).drop_columns(["at"]).slice(0, 0), timestamp="at")
    with pytest.raises(FrameError, match=r"no column of the reference can be compared: at: .*timestamp="):
        compare(table(1).select(["at"]), table(2))
    with pytest.raises(FrameError, match=r"'week' of kind 'week_of_year' needs two seasons"):
        compare(table(1), table(2), timestamp="at", conditions=[Condition(name="week", kind="week_of_year")])


def test_conditions_are_not_bare_names() -> None:
    """Rejects a column's name in place of a condition, with the correct form."""
    table = pa.table({"store": ["a", "b"] * 200, "price": [float(i % 7) for i in range(400)]})
    with pytest.raises(FrameError, match=r"got 'store': Condition\(name='store'\)"):
        compare(table, table, conditions=["store"])  # type: ignore[list-item]
