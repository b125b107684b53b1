"""What could not be read is told by how often it came."""

from dataclasses import replace

from tests.runtime.monitor import reports

from mlops_runtime.monitor.page.problems import are_many, problems, problems_text, short_flaw

REPORT = reports.quiet().report  # of 1,000 rows


def test_the_most_frequent_stand_first() -> None:
    """A name decides nothing unless two came as often."""
    found = replace(REPORT, problems={"a": 1, "z": 9, "c": 2, "b": 2})

    assert problems(found) == [("z", 9), ("b", 2), ("c", 2), ("a", 1)]
    assert problems_text(found) == "z (9); b (2); c (2); 1 more kind"
    assert problems_text(REPORT) == ""


def test_more_than_one_in_a_hundred_is_much() -> None:
    """Also where nothing was left to count."""
    assert not are_many(REPORT)
    assert not are_many(replace(REPORT, problems={"line is not JSON": 10}))
    assert are_many(replace(REPORT, problems={"line is not JSON": 11}))
    assert are_many(replace(REPORT, rows=0, problems={"line is not JSON": 1}))


def test_a_flaw_of_the_baseline_is_no_problem_beside_it() -> None:
    """It is the verdict."""
    flaw = "the baseline s3://artifacts/b.json is missing, or may not be read"

    assert problems(replace(REPORT, baseline_flaw=flaw, problems={flaw: 1, "line is not JSON": 2})) == [
        ("line is not JSON", 2)
    ]
    assert short_flaw(flaw) == "the baseline is missing, or may not be read"
