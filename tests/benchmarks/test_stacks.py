"""The benchmark of stacks."""

import pytest

from benchmarks import stacks


def test_medians_stand_beside_the_peers() -> None:
    """Medians of each step, and their sum."""
    ours = [{"A deploy": [cpu, 4.0], "A destroy": [1.0, 1.0]} for cpu in (1.0, 3.0, 2.0)]
    theirs = [{"A deploy": [4.0, 2.0], "A destroy": [1.0, 1.0]}]

    rows = stacks.table(ours, theirs).splitlines()
    assert rows[2:] == [
        "| A deploy | 2.00 | 4.00 | 4.00 | 2.00 | 0.50 | 2.00 |",
        "| A destroy | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |",
        "| all | 3.00 | 5.00 | 5.00 | 3.00 | 0.60 | 1.67 |",
    ]
    assert stacks.table(ours, []).splitlines()[2] == "| A deploy | 2.00 | 4.00 |"


@pytest.mark.cloud
def test_a_run_counts_what_the_cloud_and_its_functions_do() -> None:
    """A stack is deployed and deleted, each step in CPU and wall seconds."""
    found = stacks.run(stacks.ROOT, ["FirstEndpoint"])

    assert list(found) == ["FirstEndpoint deploy", "FirstEndpoint destroy"]
    assert all(cpu > 0.1 and wall > 0.1 for cpu, wall in found.values())
