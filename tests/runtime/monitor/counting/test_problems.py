"""Problem counts are bounded and independent of the order of merging."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.counting.problems import (
    COLUMN_FOREIGN,
    COLUMN_MISSING,
    LINE_NOT_JSON,
    MAXIMUM,
    OTHERS,
    ROW_WIDTH,
    ROWS_OTHER,
    SIDE_NOT_JSON,
    TIME_INVALID,
    Kind,
    add,
    arguments_of,
    bounded,
    is_unreadable,
    kind_of,
    sentence,
)

PROBLEMS = st.dictionaries(
    st.one_of(
        st.integers(0, 400).map(lambda n: COLUMN_FOREIGN(f"c{n}")),
        st.integers(0, 400).map(lambda n: ROW_WIDTH(n, 7)),
        st.sampled_from([COLUMN_MISSING("price"), LINE_NOT_JSON(), SIDE_NOT_JSON["output"]()]),
    ),
    st.integers(1, 9),
    max_size=300,
)


@given(st.lists(PROBLEMS, max_size=4), st.randoms())
def test_parts_add_up_in_any_order(parts: list[dict[str, int]], random: object) -> None:
    """Merging in any order gives the same names and exact counts."""
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    random.shuffle(parts)  # type: ignore[attr-defined]
    merged: dict[str, int] | None = None
    for part in parts:
        merged = add(merged, bounded(part))
    assert (merged or {}) == bounded(total)
    assert sum((merged or {}).values()) == total.total()
    assert len(merged or {}) <= 2 * (MAXIMUM + 1)
    assert all(times == total[name] for name, times in (merged or {}).items() if name not in (OTHERS(), ROWS_OTHER()))
    of_rows = [sum(times for name, times in of.items() if is_unreadable(name)) for of in (merged or {}, total)]
    assert of_rows[0] == of_rows[1]


def test_names_that_callers_make_up_drop_no_other() -> None:
    """Any number of column names and widths from callers leaves the counts of other problems intact."""
    made_up = {COLUMN_FOREIGN(f"c{n}"): 1 for n in range(1000)}
    widths = {ROW_WIDTH(n, 7): 2 for n in range(8, 1008)}
    fixed = {COLUMN_MISSING("price"): 3, TIME_INVALID(): 4, SIDE_NOT_JSON["output"](): 5}
    found = bounded({**made_up, **widths, **fixed})
    assert found.items() >= fixed.items()
    assert sum(times for name, times in found.items() if is_unreadable(name)) == 2000
    assert found[OTHERS()] == 1000 - (MAXIMUM - len(fixed))


def test_no_problem_is_none() -> None:
    """Counts without problems omit the field."""
    assert add(None, None) is None


@given(st.lists(st.one_of(st.text(), st.integers()), min_size=1, max_size=3))
def test_arguments_are_read_back(arguments: list[str | int]) -> None:
    """Arguments, such as callers' column names, are read back without parsing sentences."""
    kind = Kind("row_width", "{!r}")
    problem = kind(*arguments)
    assert arguments_of(problem) == tuple(arguments)
    assert kind_of(problem) is ROW_WIDTH
    assert problem.isascii()


def test_each_code_names_one_kind() -> None:
    """A problem is read back as the kind that wrote it; other sentences give no kind."""
    assert kind_of(COLUMN_MISSING("a[1]")) is COLUMN_MISSING
    assert kind_of("label without a captured call") is None
    assert sentence(COLUMN_MISSING("it's [2]")) == 'column "it\'s [2]" is missing'
    assert sentence(ROW_WIDTH(3, 4)) == "row has 3 values instead of 4"
