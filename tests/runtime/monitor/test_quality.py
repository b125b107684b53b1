"""Labels and predictions joined row by row, against plain arithmetic."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.quality import measure

PAIR = st.tuples(st.floats(0, 100), st.floats(0, 100))


@given(st.lists(st.lists(PAIR, min_size=1, max_size=5), min_size=1, max_size=8), st.randoms())
def test_wape_and_bias_over_all_rows(lines: Any, calls: list[list[tuple[float, float]]], random: Any) -> None:
    """Whatever order labels arrive in, each row meets its own prediction."""
    captures = [
        lines.call(
            None, json.dumps({"predictions": [p for p, _ in call]}), output_encoding="JSON", inference_id=f"c{i}"
        )
        for i, call in enumerate(calls)
    ]
    labels = [lines.label("x", [y for _, y in call], inference_id=f"c{i}") for i, call in enumerate(calls)]
    random.shuffle(labels)
    quality = measure(labels, captures)
    pairs = [pair for call in calls for pair in call]
    total = sum(y for _, y in pairs)
    assert quality.rows == len(pairs)
    if total > 0:
        assert quality.wape == pytest.approx(sum(abs(p - y) for p, y in pairs) / total)
        assert quality.bias == pytest.approx(sum(p - y for p, y in pairs) / total, abs=1e-9)
    else:
        assert (quality.wape, quality.bias) == (None, None)


def test_the_event_id_joins_without_an_inference_id(lines: Any) -> None:
    """SageMaker's own id is the key then."""
    quality = measure([lines.label("e-7", [10])], [lines.call(None, "12\n", event_id="e-7")])
    assert (quality.rows, quality.wape, quality.bias) == (1, 0.2, 0.2)


def test_a_label_uploaded_again_replaces_and_a_call_captured_twice_counts_once(lines: Any) -> None:
    """Repetition changes nothing but the value."""
    labels = [lines.label("e-1", [5]), lines.label("e-1", [10])]
    quality = measure(labels, [lines.call(None, "8"), lines.call(None, "8")])
    assert (quality.rows, quality.wape, quality.bias) == (1, 0.2, -0.2)


def test_synthetic_calls_are_not_joined(lines: Any) -> None:
    """Not even if somebody labels one."""
    synthetic = "mlops-synthetic-1-29174fbf3e2370f6"
    captures = [lines.call(None, "99\n", inference_id=synthetic), lines.call(None, "12\n", inference_id="c1")]
    labels = [lines.label("x", [1], inference_id=synthetic), lines.label("x", [10], inference_id="c1")]
    quality = measure(labels, captures)
    assert (quality.rows, quality.wape, quality.unmatched) == (1, 0.2, 1)


def test_rows_without_a_label_or_a_finite_prediction_are_left_out(lines: Any) -> None:
    """Their neighbours keep their labels."""
    quality = measure([lines.label("e-1", [10, "", 20, 30])], [lines.call(None, "11\n5\nnan\n27")])
    assert (quality.rows, quality.wape) == (2, 4 / 40)


def test_what_does_not_fit_is_counted(lines: Any) -> None:
    """Labels without a call, calls with another number of labels, lines that are broken."""
    labels = [lines.label("none", [1]), lines.label("e-1", [1, 2]), "{"]
    quality = measure(labels, [lines.call(None, "1\n2\n3"), "[]", "", lines.call("1,2,3")])
    assert (quality.rows, quality.unmatched, quality.mismatched, quality.malformed) == (0, 1, 1, 2)


def test_an_earlier_models_errors_are_not_counted(lines: Any) -> None:
    """Labels that arrive after a promotion judge the model that predicted."""
    calls = [lines.call(None, "1", event_id=f"e{h}", time=f"2017-08-07T{h}:00:00Z") for h in (10, 11)]
    quality = measure([lines.label("e10", [2]), lines.label("e11", [4])], calls, since="2017-08-07T11:00:00Z")
    assert (quality.rows, quality.wape, quality.unmatched) == (1, 0.75, 1)


def test_captures_are_read_no_further_than_needed(lines: Any) -> None:
    """Without labels nothing is read; after the last label's call nothing more."""

    def captures() -> Iterator[str]:
        yield lines.call(None, "12")
        pytest.fail("read beyond the last label's call")

    assert measure([lines.label("e-1", [10])], captures()).rows == 1
    assert measure([], iter(lambda: pytest.fail("read without labels"), None)).rows == 0
