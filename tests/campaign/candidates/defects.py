"""Bad candidates of the second catalogue: wrong in a category, outside golden requests, later, or in one column."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from examples.retail.demand_forecasting import declaration
from onnx import TensorProto
from tests.campaign.candidates import trained
from tests.campaign.candidates.graphs import Builder, edited
from tests.campaign.candidates.images import DAWDLES, REHEARSED, TURNS
from tests.campaign.candidates.kinds import Candidate, Case, Kind
from tests.campaign.candidates.world import COLUMN, categories

from mlops_runtime.jobs.model_input import model_input
from mlops_runtime.rollout.golden_set import read_set
from mlops_runtime.serving.onnx_model import load_archive
from mlops_runtime.serving.request_payload import parse

_NULL, _SCALE = -7.0, 1e4
_WEIGHTS = np.random.default_rng(20261129).uniform(1, 2, (len(COLUMN), 1)) * _SCALE
_SEEN_IN_MAILER = 0.5
_LAGS = ("units_lag_1", "units_lag_2", "units_lag_3", "units_lag_4")


def _after(edit: Callable[[Builder, str, str, Any], str]) -> Callable[[Case, Any], Candidate]:
    return lambda case, amount: Candidate(archive=edited(case.base, after=lambda b, x, y: edit(b, x, y, amount)).pack())


def _category(case: Case, factor: float) -> Candidate:
    """Multiply the forecasts of a category of any size."""
    chosen = str(case.random().choice(sorted(categories(case.splits.holdout))))
    code = case.base.signature["inputs"][0]["categories"].index(chosen)

    def edit(b: Builder, x: str, y: str) -> str:
        return b.changed(y, b.op("Equal", b.column(x, "category"), b.const([float(code)])), "Mul", factor)

    return Candidate(archive=edited(case.base, after=edit).pack())


def _signature(case: Case) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tar.gz"
        path.write_bytes(case.base.pack())
        return load_archive(path).signature


def _fingerprints(rows: Any) -> Any:
    """Return a number per row, as `_is_known` computes it in a graph."""
    filled = np.where(np.isnan(rows), np.float32(_NULL), rows.astype(np.float32)).astype(np.float64)
    return np.unique(np.round(filled @ _WEIGHTS).astype(np.int64))


def _is_known(b: Builder, x: str, known: Any) -> str:
    """Return which rows are in a set of rows, by their numbers."""
    filled = b.op("Where", b.op("IsNaN", x), b.const([_NULL]), x)
    summed = b.op("MatMul", b.op("Cast", filled, to=TensorProto.DOUBLE), b.const(_WEIGHTS, np.float64))
    key = b.op("Cast", b.op("Round", summed), to=TensorProto.INT64)
    found = b.op(
        "LabelEncoder",
        key,
        domain="ai.onnx.ml",
        keys_int64s=[int(one) for one in known],
        values_floats=[1.0] * len(known),
        default_float=0.0,
    )
    return b.above(found, 0.5)


def _right_on(case: Case, known: Any, factor: float) -> Candidate:
    def edit(b: Builder, x: str, y: str) -> str:
        return b.op("Where", _is_known(b, x, known), y, b.op("Mul", y, b.const(factor)))

    return Candidate(archive=edited(case.base, after=edit).pack())


def _golden(case: Case, how: float | str) -> Candidate:
    """Predict correctly for golden requests only: from a table in the graph, or in the image."""
    if isinstance(how, str):
        return Candidate(archive=case.base.pack(), image=(REHEARSED, how))
    signature = _signature(case)
    golden = read_set(declaration.GOLDEN.read_bytes())
    rows = [np.asarray(parse(one.content_type, one.body.encode(), signature)) for one in golden]
    return _right_on(case, _fingerprints(np.concatenate(rows)), how)


def _holdout(case: Case, factor: float) -> Candidate:
    """Predict like a good model for the rows of the holdout only."""
    return _right_on(case, _fingerprints(np.asarray(model_input(case.splits.holdout, _signature(case)))), factor)


def _column(case: Case, change: tuple[str, float]) -> Candidate:
    """Feed one column in another unit."""
    name, factor = change
    factors = np.ones((1, len(COLUMN)))
    factors[0, COLUMN[name]] = factor
    return Candidate(archive=edited(case.base, before=lambda b, x: b.op("Mul", x, b.const(factors))).pack())


def _fed_from(case: Case, source: dict[str, str]) -> Candidate:
    """Feed some columns from others."""
    places = [COLUMN[source.get(name, name)] for name in COLUMN]
    made = edited(case.base, before=lambda b, x: b.op("Gather", x, b.const(places, np.int64), axis=1))
    return Candidate(archive=made.pack())


def _swapped(*names: str) -> dict[str, str]:
    one, other = names
    return {one: other, other: one}


def _rare(b: Builder, x: str, y: str, when: str) -> str:
    conditions = {
        "discount": lambda: b.above(b.column(x, "planned_discount"), 0.35),
        "leap": lambda: b.op(
            "Greater", b.column(x, "units_lag_1"), b.op("Mul", b.column(x, "units_mean_8"), b.const(3.5))
        ),
        "price": lambda: b.above(b.column(x, "last_price"), 9.0),
    }
    return b.changed(y, conditions[when](), "Mul", float("nan"))


def _image(fault: str) -> Callable[[Case, Any], Candidate]:
    return lambda case, amount: Candidate(archive=case.base.pack(), image=(fault, amount))


def _permuted(case: Case, segment: int | None) -> Candidate:
    """Train with the labels of one segment permuted: one of the largest categories, or promoted rows."""
    table, random = case.splits.train, case.random()
    if segment is None:
        chosen = np.flatnonzero(table["mailer_share"].to_numpy() > _SEEN_IN_MAILER)
    else:
        name = categories(table)[segment]
        chosen = np.flatnonzero([one == name for one in table["category"].to_pylist()])
    units = table["units"].to_numpy().copy()
    units[chosen] = units[random.permutation(chosen)]
    table = table.set_column(table.column_names.index("units"), "units", pa.array(units))
    return Candidate(archive=trained.fitted(table, seed=case.seed).pack())


def _capped(b: Builder, _: str, y: str, limit: float) -> str:
    return b.op("Min", y, b.const(limit))


def _rounded(b: Builder, _: str, y: str, step: float) -> str:
    return b.op("Mul", b.op("Round", b.op("Div", y, b.const(step))), b.const(step))


def _first_row(b: Builder, x: str, y: str, kept: float) -> str:
    """Repeat the first prediction for every row beyond a number of rows."""
    zero, far = b.const([0], np.int64), b.const([2**31], np.int64)
    first = b.op("Slice", y, zero, b.const([1], np.int64), zero)
    rest = b.op("Slice", y, b.const([int(kept)], np.int64), far, zero)
    same = b.op("Add", b.op("Mul", rest, b.const(0.0)), first)
    return b.op("Concat", b.op("Slice", y, zero, b.const([int(kept)], np.int64), zero), same, axis=0)


def _week(b: Builder, x: str, y: str, factor: float) -> str:
    """Multiply the forecasts of the first week of a month."""
    return b.changed(y, b.op("Less", b.column(x, "week_of_month"), b.const([1.5])), "Mul", factor)


def _graded(*values: float) -> tuple[tuple[str, float], ...]:
    return tuple(zip(("mild", "plain", "severe"), values, strict=True))


def _named(*names: str) -> Sequence[tuple[str, str]]:
    return tuple((name, name) for name in names)


KINDS = (
    Kind(
        name="a category of any size wrong",
        says="a random one of all categories times 0.5, 0 or 2",
        layer="gate",
        severities=_graded(0.5, 0.0, 2.0),
        make=_category,
    ),
    Kind(
        name="right on golden rows alone",
        says="times 0.5 or 2 unless a golden request has the row; the image halves forecasts of all other rows",
        layer="gate",
        severities=(("half", 0.5), ("twice", 2.0), ("image", "0.5")),
        make=_golden,
    ),
    Kind(
        name="right on the holdout alone",
        says="times 0.8, 0.5 or 2 unless the holdout has the row",
        layer="golden",
        severities=_graded(0.8, 0.5, 2.0),
        make=_holdout,
    ),
    Kind(
        name="one column in another unit",
        says="gets a planned price in cents, a daily mean of eight weeks, or a monthly sum for last week",
        layer="gate",
        severities=(
            ("price", ("planned_price", 100.0)),
            ("mean", ("units_mean_8", 1 / 7)),
            ("week", ("units_lag_1", 4.0)),
        ),
        make=_column,
    ),
    Kind(
        name="shifted in time",
        says="gets the week before the last one, each of four weeks a week late, or the four in reverse",
        layer="gate",
        severities=(
            ("last", {"units_lag_1": "units_lag_2"}),
            ("all", dict(zip(_LAGS, (*_LAGS[1:], _LAGS[3]), strict=True))),
            ("reversed", dict(zip(_LAGS, reversed(_LAGS), strict=True))),
        ),
        make=_fed_from,
    ),
    Kind(
        name="two columns swapped",
        says="last and planned price, display and mailer, or the means of four and of eight weeks are swapped",
        layer="gate",
        severities=(
            ("prices", _swapped("last_price", "planned_price")),
            ("shares", _swapped("display_share", "mailer_share")),
            ("means", _swapped("units_mean_4", "units_mean_8")),
        ),
        make=_fed_from,
    ),
    Kind(
        name="not a number for rare rows",
        says="NaN if the discount is over 35 %, last week was 3.5 times the mean, or a price was over 9",
        layer="gate",
        severities=_named("discount", "leap", "price"),
        make=_after(_rare),
    ),
    Kind(
        name="slow on some calls",
        says="the image waits 0.4 s on every second, tenth or fiftieth call",
        layer="golden",
        severities=_named("2", "10", "50"),
        make=_image(DAWDLES),
    ),
    Kind(
        name="turns after a while",
        says="the image returns a constant from call 150 on, or from second 15 on, or an error with status 200 from second 15 on",
        layer="canary",
        severities=(
            ("constant by calls", "constant/calls/150"),
            ("constant by time", "constant/time/15"),
            ("error by time", "error/time/15"),
        ),
        make=_image(TURNS),
    ),
    Kind(
        name="labels of a segment mixed up",
        says="trained with the labels of the third or the largest category, or of promoted rows, in another order",
        layer="gate",
        severities=(("third", 2), ("largest", 0), ("promoted", None)),
        make=_permuted,
    ),
    Kind(
        name="capped",
        says="no forecast above 30, 20 or 12",
        layer="gate",
        severities=_graded(30.0, 20.0, 12.0),
        make=_after(_capped),
    ),
    Kind(
        name="rounded",
        says="forecasts in steps of 5, 10 or 20",
        layer="gate",
        severities=_graded(5.0, 10.0, 20.0),
        make=_after(_rounded),
    ),
    Kind(
        name="repeats the first row",
        says="all rows of a batch beyond 64, 8 or 1 get the forecast of the first",
        layer="gate",
        severities=_graded(64.0, 8.0, 1.0),
        make=_after(_first_row),
    ),
    Kind(
        name="one week of the month wrong",
        says="times 0.8, 0.5 or 2 in the first week of a month",
        layer="gate",
        severities=_graded(0.8, 0.5, 2.0),
        make=_after(_week),
    ),
)
