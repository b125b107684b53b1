"""Separately tuned and measured thresholds, and our own side of the comparison."""

from pathlib import Path

import numpy as np
import pytest
from benchmarks.monitor.rival_alarms import (
    NONE,
    SHIFTED,
    by_shift,
    ours,
    scores,
    shares,
    tuned,
    write,
    write_independent,
)
from benchmarks.monitor.windows import SHIFTS, independent


@pytest.mark.parametrize("least", [0.0, 1.0])
def test_tuned_thresholds_let_one_in_a_hundred_alarm(least: float) -> None:
    """Exactly the allowed number of two hundred windows has a score above its feature's threshold."""
    quiet = np.random.default_rng(1).exponential([1.0, 10.0, 0.1], (200, 3))
    alarmed = (quiet > tuned(quiet, least=least)).any(axis=1)
    assert 1 <= alarmed.sum() <= 2


def test_a_feature_with_a_scale_of_its_own_does_not_drown_the_others() -> None:
    """An outlying score of a feature with small scores is found beside one with large scores."""
    quiet = np.random.default_rng(2).normal([0.5, 0.02], 0.001, (50, 2))
    assert (np.array([0.5, 0.04]) > tuned(quiet, least=0.0)).tolist() == [False, True]


def test_a_score_that_never_moved_may_move_a_little() -> None:
    """A feature whose p-value was always 1 does not alarm at 0.3, given the smallest deviation of p-values."""
    quiet = np.column_stack([np.random.default_rng(3).exponential(0.43, 50), np.zeros(50)])
    for least, expected in ((0.0, True), (0.43, False)):
        assert ((np.array([0.0, 0.52]) > tuned(quiet, least=least)).tolist()) == [False, expected]


def test_a_feature_that_always_or_never_has_a_score_does_not_count() -> None:
    """A feature with a constant score, and one without scores from a tool, leave the threshold to the third."""
    quiet = scores([{"scores": {"a": 300.0, "b": None, "c": float(one)}} for one in range(10)], ["a", "b", "c"])
    alarmed = scores([{"scores": {"a": 300.0, "b": None, "c": 10.0}}], ["a", "b", "c"]) > tuned(quiet, least=0.0)
    assert alarmed.tolist() == [[False, False, True]]


def test_shares_are_measured_on_windows_that_were_not_tuned_on() -> None:
    """False alarms at defaults use all windows without drift, matched ones only the second half."""
    lines = [
        {"window": f"{NONE}-{one:03d}", "scores": {"a": one / 10, "b": 0.0}, "alarms": ["a"] if one > 7 else []}
        for one in range(10)
    ]
    lines += [{"window": f"moves-{one:03d}", "scores": {"a": 0.45, "b": 0.0}, "alarms": []} for one in range(4)]
    found = shares(by_shift(lines), {"moves": "a"}, least=0.0)
    assert (found["windows"], found["any"], found["features"]) == (10, 2, 0.1)
    assert (found["evaluated"], found["matched"]) == (5, 5)
    assert found["found"] == {"moves": (0.2, 0.0, 1.0, 4)}


def test_we_judge_the_files_that_rivals_read(tmp_path: Path) -> None:
    """Every window is evaluated by its name; a price rise of a tenth in 5,000 rows is found, windows without drift are quiet."""
    (tmp_path / "windows").mkdir()
    write_independent(5_000, 3, tmp_path)
    write(tmp_path, "constant", 0, independent(5_000, 9))
    judged = by_shift(ours(tmp_path, 5_000))
    assert {shift: len(windows) for shift, windows in judged.items()} == {
        NONE: 3,
        "constant": 1,
        **dict.fromkeys(SHIFTED, 1),
    }
    assert all(not window["alarms"] for window in judged[NONE])
    assert SHIFTS["price +10 %"] in judged["price +10 %"][0]["alarms"]
