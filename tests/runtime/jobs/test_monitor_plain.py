"""Counting by columns equals the function's reader byte for byte, for any input of callers."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.contracts import canonical_json
from mlops_runtime.contracts.monitor import Baseline, Condition
from mlops_runtime.jobs import monitor_plain
from mlops_runtime.jobs.monitor_plain import count_lines
from mlops_runtime.monitor.counting.baseline import fit_baseline
from mlops_runtime.monitor.counting.counts import count

SINCE = "2017-08-07T09:30:00Z"
PLAIN = ["1", "0.1", "-2.5e-3", "1e16", "12345678901234567890123", ".5", "5.", "-0", "3.4028236e38", ""]
ODD = [
    "nan",
    "inf",
    "-Infinity",
    "1e400",
    "nan(1)",
    "+1",
    "1_0",
    " 1 ",
    "\t2",
    " ",
    "x",
    "0x10",
    "\uff11",
    "\ufeff1",
    "1\x0b",
    "TRUE",
    "#N/A",
    "null",
]
TIMES = [
    "2017-08-07T10:00:00Z", "2017-08-07T23:59:59Z", "2017-08-13T11:00:00Z", "2017-08-07T09:29:59Z", "", None, 7,
    "2017-08-07T10:00:00+02:00", "2017-08-07T10:00:00.5Z", "2017-W32-1T10:00:00Z", "0000-01-01T00:00:00Z", "2017-13-01T00:00:00Z",
    "2017-08-07T24:00:00Z", "0999-08-07T10:00:00Z",
]  # fmt: skip


@pytest.fixture(scope="module")
def conditioned() -> Baseline:
    """Return a baseline of two numbers and a text, given one of them and the day of the week."""
    random = np.random.default_rng(2)
    rows = 600
    return fit_baseline(
        {
            "price": random.lognormal(0, 1, rows).astype(np.float32),
            "promotion": random.choice([0.0, 1.0], rows).astype(np.float32),
            "store": random.choice(["north", "south", "e\u00e4st", "rare"], rows).tolist(),
        },
        types={"price": "number", "promotion": "number", "store": "category"},
        training_set_id="set-1",
        created="2017-08-01T00:00:00Z",
        times=np.datetime64("2017-07-01T00:00:00") + random.integers(0, 30 * 86400, rows),
        conditions=(Condition(name="promotion"), Condition(name="day", kind="day_of_week")),
        pairs=[("price", "store")],
        prediction=random.normal(10, 2, rows),
    )


@st.composite
def calls(draw: Any) -> bytes:
    """Draw a line: mostly valid, sometimes invalid."""
    number = st.sampled_from(PLAIN) | st.sampled_from(PLAIN) | st.sampled_from(ODD)
    store = st.sampled_from(["north", "south", "e\u00e4st", "new", "", "a b", '"q,u"', "x\r", "\x00", " north"])
    row = st.tuples(number, number, store)
    short = st.tuples(number, store) | st.tuples(number, number, store, number)
    rows = draw(st.lists(row, min_size=1, max_size=3) | st.lists(row | short, min_size=1, max_size=3))
    text = "\n".join(",".join(row) for row in rows) + draw(st.sampled_from(["", "\n", "\n\n", ",", "\r\n"]))
    outputs = draw(st.lists(number, min_size=len(rows), max_size=len(rows)) | st.lists(number, max_size=3))
    output = "\n".join(outputs) + draw(st.sampled_from(["", "\n", ",1,2"]))
    sides = {
        name: {
            "observedContentType": "text/csv",
            "mode": mode,
            "data": data,
            "encoding": draw(st.sampled_from(["CSV"] * 6 + ["JSON", 1])),
        }
        for name, mode, data in (("endpointInput", "INPUT", text), ("endpointOutput", "OUTPUT", output))
    }
    for name in draw(st.sampled_from([()] * 6 + [("endpointInput",), ("endpointOutput",)])):
        del sides[name]
    metadata: dict[str, Any] = {"eventId": draw(st.sampled_from(["e", "e", "", None, 5]))}
    metadata["inferenceTime"] = draw(st.sampled_from(TIMES[:3]) | st.sampled_from(TIMES))
    metadata["inferenceId"] = draw(st.sampled_from([None, None, "mine", "mlops-synthetic-1", 7]))
    line = json.dumps({"captureData": sides, "eventMetadata": metadata}, ensure_ascii=draw(st.booleans())).encode()
    return draw(st.sampled_from([line] * 8 + [line[:-1], b"", b"[]", b'{"eventMetadata": {}}']))


@given(lines=st.lists(calls(), max_size=12), hour=st.sampled_from([None, datetime(2017, 8, 7, 10, tzinfo=UTC)]))
def test_the_counts_are_the_functions_whatever_is_sent(
    lines: list[bytes], hour: datetime | None, baseline: Baseline, conditioned: Baseline
) -> None:
    """With and without conditions, in batches of one call and of many."""
    for against in (baseline, conditioned):
        expected = canonical_json(count(lines, against, since=SINCE, hour=hour))
        own = canonical_json(count(lines, against, since=SINCE, announced=lambda *_: True))
        for rows in (1, 1 << 15):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(monitor_plain, "_BATCH_ROWS", rows)
                assert canonical_json(count_lines(lines, against, since=SINCE, hour=hour)) == expected
                counted = count_lines(lines, against, since=SINCE, announced=lambda *_: True)
                assert canonical_json(counted) == own


@given(
    numbers=st.lists(
        st.floats(width=32) | st.floats() | st.decimals(allow_nan=False, allow_infinity=False, places=30),
        min_size=1,
        max_size=20,
    )
)
def test_every_number_is_the_same_number(numbers: list[Any]) -> None:
    """Arrow parses decimals like Python to the last bit, and sums agree."""
    baseline = fit_baseline(
        {"price": np.arange(50, dtype=np.float32)},
        types={"price": "number"},
        training_set_id="s",
        created="2017-08-01T00:00:00Z",
    )
    lines = []
    for number in numbers:
        side = {"encoding": "CSV", "data": str(number)}
        lines.append(
            json.dumps(
                {"captureData": {"endpointInput": side, "endpointOutput": side}, "eventMetadata": {"eventId": "e"}}
            ).encode()
        )
    assert canonical_json(count_lines(lines, baseline)) == canonical_json(count(lines, baseline))


def test_plain_calls_are_counted_by_columns(lines: Any, baseline: Baseline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise it would not be faster: the other reader gets none of them."""
    seen: list[int] = []
    whole = monitor_plain.count
    monkeypatch.setattr(
        monitor_plain, "count", lambda given, *rest, **more: seen.append(len(given)) or whole(given, *rest, **more)
    )
    body = [lines.call(f"{i}.5,,north\n1,2,south", "1.0\n2.0").encode() for i in range(20)]
    found = count_lines([*body, b"{"], baseline)
    assert seen == [1]
    assert (found.calls, found.rows, found.malformed, found.objects) == (20, 40, 1, 1)
