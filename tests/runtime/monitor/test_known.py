"""Thresholds that name what the live model does not have."""

from dataclasses import replace
from datetime import timedelta

from tests.runtime.monitor.timeline import BASELINE, START

from mlops_runtime.contracts.monitor import PairBaseline
from mlops_runtime.monitor.drift.replay import replay
from mlops_runtime.monitor.known import known
from mlops_runtime.monitor.spec import MonitorSpec

SPAN = {"window_hours": 1, "every_hours": 1, "start": START, "end": START + timedelta(hours=1)}


def test_what_is_known_stays_as_it_is() -> None:
    """No problem, the same thresholds."""
    spec = MonitorSpec(features=("price",), amounts=("price",))
    assert known(spec, BASELINE) == (spec, {})


def test_a_pair_is_known_by_its_name() -> None:
    """As deciding takes it."""
    pair = PairBaseline(first="price", second="store", first_groups=(), second_groups=(), counts=())
    spec = MonitorSpec(alarm_features=("price x store",))
    assert known(spec, replace(BASELINE, pairs=(pair,))) == (spec, {})


def test_what_is_gone_is_left_out_and_named() -> None:
    """Each name once, wherever it stands."""
    spec, problems = known(
        MonitorSpec(features=("price", "promo", "x"), alarm_features=("promo",), amounts=("x",)), BASELINE
    )
    assert (spec.features, spec.alarm_features, spec.amounts) == (("price",), (), ())
    assert list(problems) == [
        f"the monitor names {name!r}, which the live model does not have" for name in ("promo", "x")
    ]
    assert replay(BASELINE, [], spec, **SPAN)  # type: ignore[arg-type]
