"""Bad candidates with wrong predictions: real graphs around a trained model."""

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto
from tests.campaign.candidates.graphs import Builder, edited
from tests.campaign.candidates.kinds import Candidate, Case, Kind
from tests.campaign.candidates.world import categories

PROMOTED = 0.5  # share of a category, by recent sales, in the store's mailer
_FAR = -(2**31)
_PLAN = ("planned_discount", "display_share", "mailer_share")


def _after(edit: Callable[[Builder, str, str, Any], str]) -> Callable[[Case, Any], Candidate]:
    return lambda case, amount: Candidate(archive=edited(case.base, after=lambda b, x, y: edit(b, x, y, amount)).pack())


def _scaled(b: Builder, _: str, y: str, factor: float) -> str:
    return b.op("Mul", y, b.const(factor))


def _noise(b: Builder, x: str, y: str, amount: float) -> str:
    parts = [b.op("Mul", b.column(x, n), b.const(f)) for n, f in (("units_mean_8", 37.0), ("units_lag_1", 11.0))]
    wave = b.op("Sin", b.op("Add", *parts))
    return b.op("Mul", y, b.op("Add", b.op("Mul", wave, b.const(amount)), b.const(1.0)))


def _segment(case: Case, factor: float) -> Candidate:
    chosen = str(case.random().choice(categories(case.splits.train)[:8]))
    code = case.base.signature["inputs"][0]["categories"].index(chosen)
    made = edited(
        case.base,
        after=lambda b, x, y: b.changed(
            y, b.op("Equal", b.column(x, "category"), b.const([float(code)])), "Mul", factor
        ),
    )
    return Candidate(archive=made.pack())


def _zeros(b: Builder, x: str, y: str, limit: float) -> str:
    return b.changed(y, b.op("Less", b.column(x, "units_mean_8"), b.const([limit])), "Mul", 0.0)


def _promotion(case: Case, factor: float) -> Candidate:
    is_promoted = case.splits.holdout["mailer_share"].to_numpy() > PROMOTED
    own, others = case.predictions[is_promoted].sum(), case.predictions[~is_promoted].sum()
    balance = float(1 + (1 - factor) * own / others)

    def edit(b: Builder, x: str, y: str) -> str:
        promoted = b.above(b.column(x, "mailer_share"), PROMOTED)
        return b.op("Where", promoted, b.op("Mul", y, b.const(factor)), b.op("Mul", y, b.const(balance)))

    return Candidate(archive=edited(case.base, after=edit).pack())


def _fed(case: Case, change: dict[str, tuple[float, float]]) -> Candidate:
    """Scale and shift the model's input from some columns."""
    names = [column["name"] for column in case.base.signature["inputs"]]
    factor = np.array([[change.get(name, (1.0, 0.0))[0] for name in names]])
    offset = np.array([[change.get(name, (1.0, 0.0))[1] for name in names]])
    made = edited(case.base, before=lambda b, x: b.op("Add", b.op("Mul", x, b.const(factor)), b.const(offset)))
    return Candidate(archive=made.pack())


def _units(b: Builder, _: str, y: str, how: str) -> str:
    if how == "logarithm":
        return b.op("Log", b.op("Add", b.op("Max", y, b.const(0.0)), b.const(1.0)))
    return b.op("Mul", y, b.const({"dozens": 1 / 12, "twelve": 12.0}[how]))


def _nan(b: Builder, x: str, y: str, where: str) -> str:
    if where == "every":
        return b.op("Mul", y, b.const(np.nan))
    null = b.op("IsNaN", b.column(x, "planned_price"))
    return b.changed(y, null if where == "null" else b.above(b.column(x, "units_lag_1"), 60.0), "Mul", float("nan"))


def _overflow(b: Builder, _: str, y: str, factor: float) -> str:
    grown = b.op("Exp", b.op("Mul", y, b.const(factor)))
    return b.op("Div", b.op("Log", grown), b.const(factor))


def _constant(b: Builder, _: str, y: str, value: float) -> str:
    return b.op("Add", b.op("Mul", y, b.const(0.0)), b.const(value))


def _negative(b: Builder, _: str, y: str, less: float | None) -> str:
    return b.op("Neg", y) if less is None else b.op("Sub", y, b.const(less))


def _shape(b: Builder, _: str, y: str, how: str) -> str:
    if how == "three":
        return b.op("Concat", y, y, y, axis=1)
    if how == "dropped":
        return b.op("Slice", y, b.const([0], np.int64), b.const([-1], np.int64))
    return b.op("ReduceSum", y, b.const([0], np.int64))


def _leans(b: Builder, _: str, y: str, weight: float) -> str:
    mean = b.op("ReduceMean", y, axes=[0])
    return b.op("Sub", y, b.op("Mul", mean, b.const(weight)))


def _order(b: Builder, x: str, y: str, how: str) -> str:
    zero, far = b.const([0], np.int64), b.const([2**31], np.int64)
    if how == "reversed":
        return b.op("Slice", y, b.const([-1], np.int64), b.const([_FAR], np.int64), zero, b.const([-1], np.int64))
    middle = b.const([1], np.int64) if how == "rolled" else b.op("Div", b.count(x), b.const([2], np.int64))
    return b.op("Concat", b.op("Slice", y, middle, far, zero), b.op("Slice", y, zero, middle, zero), axis=0)


def _random(b: Builder, _: str, y: str, amount: float) -> str:
    return b.op("Mul", y, b.op("RandomUniformLike", y, low=1 - amount, high=1 + amount))


def _batch_crash(b: Builder, x: str, y: str, limit: float) -> str:
    return b.crash(y, b.above(b.op("Cast", b.count(x), to=TensorProto.FLOAT), limit))


def _late_crash(b: Builder, x: str, y: str, when: str) -> str:
    conditions = {
        "null": lambda: b.op("IsNaN", b.column(x, "planned_price")),
        "fifth": lambda: b.above(b.column(x, "week_of_month"), 4.5),
        "large": lambda: b.above(b.column(x, "units_lag_1"), 80.0),
    }
    return b.crash(y, conditions[when]())


def _slow(b: Builder, x: str, y: str, when: str) -> str:
    if when == "every":
        return b.busy(y, b.const(200, np.int64))
    amount = b.op("Cast", b.count(x), to=TensorProto.FLOAT) if when == "large" else b.column(x, "mailer_share")
    is_met = b.above(amount, 100.0 if when == "large" else PROMOTED)
    met = b.op("ReduceMax", b.op("Cast", is_met, to=TensorProto.FLOAT), keepdims=0)
    return b.busy(y, b.op("Mul", b.op("Cast", met, to=TensorProto.INT64), b.const(400, np.int64)))


def _naive(b: Builder, x: str, y: str, name: str) -> str:
    return b.op("Add", b.op("Mul", y, b.const(0.0)), b.column(x, name))


_IGNORED = dict.fromkeys(_PLAN, (0.0, 0.0))
_HISTORY = ("units_lag_1", "units_lag_2", "units_lag_3", "units_lag_4", "units_mean_4", "units_mean_8")
_PRICES, _SHARES = ("last_price", "planned_price"), ("last_discount", *_PLAN)


def _times(names: tuple[str, ...], factor: float) -> dict[str, tuple[float, float]]:
    return dict.fromkeys(names, (factor, 0.0))


def _graded(*values: float) -> tuple[tuple[str, float], ...]:
    return tuple(zip(("mild", "plain", "severe"), values, strict=True))


KINDS = (
    Kind(
        name="level too low",
        says="every forecast is 20, 40 or 60 % too low",
        layer="gate",
        severities=_graded(0.8, 0.6, 0.4),
        make=_after(_scaled),
    ),
    Kind(
        name="level too high",
        says="every forecast is 25, 50 or 100 % too high",
        layer="gate",
        severities=_graded(1.25, 1.5, 2.0),
        make=_after(_scaled),
    ),
    Kind(
        name="noisy",
        says="worse overall: a deterministic error of up to 30, 50 or 80 % on each row",
        layer="gate",
        severities=_graded(0.3, 0.5, 0.8),
        make=_after(_noise),
    ),
    Kind(
        name="one category wrong",
        says="worse in one segment: one of the eight largest categories times 0.6, 0.3 or 3",
        layer="gate",
        severities=_graded(0.6, 0.3, 3.0),
        make=_segment,
    ),
    Kind(
        name="zeros for a group",
        says="forecasts 0 for series that sold less than 4, 6 or 10 a week",
        layer="gate",
        severities=_graded(4.0, 6.0, 10.0),
        make=_after(_zeros),
    ),
    Kind(
        name="promotions wrong",
        says="right on average: promoted rows times 0.75, 0.5 or 2, compensated by the others",
        layer="golden",
        severities=_graded(0.75, 0.5, 2.0),
        make=_promotion,
    ),
    Kind(
        name="promotions ignored",
        says="gets no mailer, no promotions, or no plan",
        layer="gate",
        make=_fed,
        severities=(
            ("mailer", _times(("mailer_share",), 0.0)),
            ("promotions", _IGNORED),
            ("plan", _IGNORED | _times(("planned_price",), float("nan"))),
        ),
    ),
    Kind(
        name="answers in other units",
        says="returns dozens, twelve times the forecast, or its logarithm",
        layer="gate",
        severities=tuple((how, how) for how in ("dozens", "twelve", "logarithm")),
        make=_after(_units),
    ),
    Kind(
        name="inputs in other units",
        says="gets prices in cents, shares in percent, or history in monthly sums",
        layer="gate",
        make=_fed,
        severities=(
            ("cents", _times(_PRICES, 100.0)),
            ("percent", _times(_SHARES, 100.0)),
            ("months", _times(_HISTORY, 4.0)),
        ),
    ),
    Kind(
        name="not a number",
        says="NaN for every row, rows without a price, or rows that sold over 60 last week",
        layer="gate",
        severities=tuple((w, w) for w in ("every", "null", "large")),
        make=_after(_nan),
    ),
    Kind(
        name="overflows",
        says="infinite for forecasts above 88, 44 or 22",
        layer="gate",
        severities=_graded(1.0, 2.0, 4.0),
        make=_after(_overflow),
    ),
    Kind(
        name="constant",
        says="always 8, 12.4 or 0",
        layer="gate",
        severities=_graded(8.0, 12.4, 0.0),
        make=_after(_constant),
    ),
    Kind(
        name="negative demand",
        says="2 or 5 units less than it should be, or its negative",
        layer="gate",
        severities=(("mild", 2.0), ("plain", 5.0), ("severe", None)),
        make=_after(_negative),
    ),
    Kind(
        name="another shape",
        says="three columns, a row too few, or one sum",
        layer="gate",
        severities=tuple((how, how) for how in ("three", "dropped", "sum")),
        make=_after(_shape),
    ),
    Kind(
        name="rows lean on each other",
        says="5, 30 or 100 % of the batch's mean is subtracted from each row",
        layer="gate",
        severities=_graded(0.05, 0.3, 1.0),
        make=_after(_leans),
    ),
    Kind(
        name="rows in another order",
        says="answers reversed, moved by one, or by half of the batch",
        layer="gate",
        severities=tuple((how, how) for how in ("reversed", "rolled", "half")),
        make=_after(_order),
    ),
    Kind(
        name="does not repeat itself",
        says="a random error of up to 2, 10 or 50 %, different for each call",
        layer="gate",
        severities=_graded(0.02, 0.1, 0.5),
        make=_after(_random),
    ),
    Kind(
        name="fails on large batches",
        says="fails above 200, 64 or 8 rows",
        layer="gate",
        severities=_graded(200.0, 64.0, 8.0),
        make=_after(_batch_crash),
    ),
    Kind(
        name="crashes on what comes late",
        says="fails on a null price, in the fifth week of a month, or if over 80 were sold",
        layer="gate",
        severities=tuple((w, w) for w in ("null", "fifth", "large")),
        make=_after(_late_crash),
    ),
    Kind(
        name="slow",
        says="hundreds of matrix products on every call, on calls of over 100 rows, or if a row is promoted",
        layer="golden",
        severities=tuple((w, w) for w in ("every", "large", "promoted")),
        make=_after(_slow),
    ),
    Kind(
        name="naive in disguise",
        says="returns last week's sales, those of four weeks ago, or the mean of eight weeks",
        layer="gate",
        severities=tuple((n, n) for n in ("units_lag_1", "units_lag_4", "units_mean_8")),
        make=_after(_naive),
    ),
)
