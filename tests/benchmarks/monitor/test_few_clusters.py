"""A tenth of the few-clusters benchmark, with a quarter of the households."""

import pytest
from benchmarks.monitor.few_clusters import FLAG, flagged, measured, planted
from benchmarks.monitor.windows import Rows, retail


@pytest.fixture(scope="module")
def rows() -> Rows:
    """Purchases of a quarter of the households from spring to autumn, with the flag."""
    found = retail(4)
    return flagged(found.take((found.week >= 9) & (found.week <= 43)))


@pytest.mark.parametrize("kind", ["one day", "30 households"])
def test_a_flag_that_jumps_is_found_and_quiet_windows_are_quiet(rows: Rows, kind: str) -> None:
    """With one day as with thirty households; hardly a test is skipped."""
    found = measured(rows, kind, 0, 4)
    assert found[FLAG] == found["windows"] == 4
    assert found["fired"] == 0
    assert found["untested"] <= 0.05 * found["tests"]


def test_the_flag_jumps(rows: Rows) -> None:
    """From 1 or 2 % to 57 % and a part of those."""
    before, after = (
        table.column("couponed").to_pylist().count("yes") / len(table)
        for table in (rows.table, planted(rows.table, FLAG, 1)[0])
    )
    assert 0.01 < before < 0.02
    assert after == pytest.approx(0.57 + 0.43 * before, abs=0.01)
