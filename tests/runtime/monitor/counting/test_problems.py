"""Problems are bounded, and what is kept does not depend on the order of the parts."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.monitor.counting.problems import MAXIMUM, OTHERS, add, bounded

PROBLEMS = st.dictionaries(
    st.integers(0, 400).map(lambda n: f"column 'c{n}' is not the model's"), st.integers(1, 9), max_size=150
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
    assert len(merged or {}) <= MAXIMUM + 1
    assert all(times == total[name] for name, times in (merged or {}).items() if name != OTHERS)


def test_no_problem_is_none() -> None:
    """Counts without problems have no field."""
    assert add(None, None) is None
