"""Every line is told: calls, malformed, synthetic, earlier."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.counting.lines import LineReader
from mlops_runtime.monitor.counting.problems import LINE_NOT_JSON, MAXIMUM, ROW_WIDTH, SIDE_NOT_TEXT, TIME_INVALID

NAMES = ("price", "stock", "store")
KINDS = st.sampled_from(["call", "broken", "short", "synthetic", "early", "blank", "page", "untimed"])


def line_of(lines: Any, kind: str) -> str:
    """Return a line of a kind."""
    return {
        "call": lines.call("1,2,north", "9"),
        "broken": "{" * 5000,
        "short": lines.call("1,2", "9"),
        "synthetic": lines.call("1", inference_id="mlops-synthetic-1"),
        "early": lines.call("1,2,north", "9", time="2017-08-07T08:00:00Z"),
        "blank": "  ",
        "page": lines.call("1,2,north", "PGh0bWw+/w==", output_encoding="BASE64"),
        "untimed": lines.call("1,2,north", "9", time="yesterday"),
    }[kind]


@given(kinds=st.lists(KINDS, max_size=30))
def test_no_line_is_lost(lines: Any, kinds: list[str]) -> None:
    """Each is one of four, and what went wrong has a name."""
    reader = LineReader(NAMES, "2017-08-07T09:00:00Z", lambda *_: True)
    calls = list(reader.read(line_of(lines, kind) for kind in kinds))
    number = {kind: kinds.count(kind) for kind in set(kinds)}
    assert len(calls) == reader.calls == sum(number.get(kind, 0) for kind in ("call", "page", "untimed"))
    assert reader.malformed == number.get("broken", 0) + number.get("short", 0)
    assert (reader.synthetic, reader.earlier) == (number.get("synthetic", 0), number.get("early", 0))
    assert len(kinds) == reader.calls + reader.malformed + reader.synthetic + reader.earlier + number.get("blank", 0)
    expected = {
        LINE_NOT_JSON(): number.get("broken", 0),
        ROW_WIDTH(2, 3): number.get("short", 0),
        SIDE_NOT_TEXT["output"](): number.get("page", 0),
        TIME_INVALID(): number.get("untimed", 0),
    }
    assert dict(reader.problems) == {name: times for name, times in expected.items() if times}


def test_names_that_callers_make_up_do_not_fill_the_memory(lines: Any) -> None:
    """A column of another name in each of many calls."""
    texts = (
        json.dumps({"instances": [{"price": 1, "stock": 2, "store": "a", f"x{number}": 0}]}) for number in range(25_000)
    )
    reader = LineReader(NAMES)
    assert sum(1 for _ in reader.read(lines.call(text, encoding="JSON") for text in texts)) == 25_000
    assert len(reader.problems) <= 10_000 + MAXIMUM
    assert reader.problems.total() == 25_000
