"""Problems are bounded, and what is kept does not depend on the order of the parts."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.counting.problems import (
    MAXIMUM,
    OTHER_ROWS,
    OTHERS,
    add,
    bounded,
    is_unreadable,
)

PROBLEMS = st.dictionaries(
    st.one_of(
        st.integers(0, 400).map(lambda n: f"column 'c{n}' is not the model's"),
        st.integers(0, 400).map(lambda n: f"row has {n} values instead of 7"),
        st.sampled_from(["column 'price' is missing", "line is not JSON", "output is not JSON"]),
    ),
    st.integers(1, 9),
    max_size=300,
)


@given(st.lists(PROBLEMS, max_size=4), st.randoms())
def test_parts_add_up_in_any_order(parts: list[dict[str, int]], random: object) -> None:
    """The same names, exact counts, and nothing lost."""
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
    assert all(times == total[name] for name, times in (merged or {}).items() if name not in (OTHERS, OTHER_ROWS))
    of_rows = [sum(times for name, times in of.items() if is_unreadable(name)) for of in (merged or {}, total)]
    assert of_rows[0] == of_rows[1]


def test_names_that_callers_make_up_drop_no_other() -> None:
    """However many columns and widths a feed has, what else went wrong keeps its count."""
    made_up = {f"column 'c{n}' is not the model's": 1 for n in range(1000)}
    widths = {f"row has {n} values instead of 7": 2 for n in range(8, 1008)}
    fixed = {"column 'price' is missing": 3, "inferenceTime is not a time": 4, "output is not JSON": 5}
    found = bounded({**made_up, **widths, **fixed})
    assert found.items() >= fixed.items()
    assert sum(times for name, times in found.items() if is_unreadable(name)) == 2000
    assert found[OTHERS] == 1000 - (MAXIMUM - len(fixed))


def test_no_problem_is_none() -> None:
    """Counts without problems have no field."""
    assert add(None, None) is None
