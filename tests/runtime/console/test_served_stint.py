"""A version's results while it served, from records and its monitor."""

from dataclasses import replace

from mlops_runtime.console.served_stint import stint_of
from mlops_runtime.contracts.rollout import AuditRecord, Outcome, RolloutVerdict
from mlops_runtime.rollout.audit_chain import GENESIS

VERDICT = RolloutVerdict(
    action="enough",
    calls=900,
    evidence=0.1,
    minutes=10,
    sentence="no worse in 900 calls",
    minutes_uri="s3://a/m",
    minutes_sha256="a" * 64,
)
FIRST = AuditRecord(
    endpoint="demand-forecast", sequence=1, previous=GENESIS, outcome=Outcome.PROMOTED, reason="better", execution="x",
    at="2017-07-01T06:00:00Z", requested_by="ann", serving_package="p/1", verdict=VERDICT,
)  # fmt: skip
REJECTED = replace(FIRST, sequence=2, outcome=Outcome.REJECTED, at="2017-07-02T06:00:00Z", verdict=None)
SECOND = replace(FIRST, sequence=3, at="2017-07-03T06:00:00Z", serving_package="p/2", verdict=None)


def test_a_version_served_from_its_promotion_to_the_next() -> None:
    """Rejections of others meanwhile change nothing."""
    stint = stint_of("p/1", [FIRST, REJECTED, SECOND])

    assert stint is not None
    assert (stint.begun, stint.ended) == (FIRST, SECOND)
    assert stint.sentences("price drifted") == (
        "It served from 2017-07-01 06:00 UTC until 2017-07-03 06:00 UTC, record 3: PROMOTED.",
        "Its rollout: no worse in 900 calls",
        "Last monitor report: price drifted",
    )
    ends = ["2017-07-01T06:00:00Z", "2017-07-01T07:00:00Z", "2017-07-03T06:00:00Z", "2017-07-03T07:00:00Z"]
    assert [stint.has(end) for end in ends] == [False, True, True, False]


def test_the_newest_time_in_which_it_served_counts() -> None:
    """It may have been returned to."""
    again = replace(FIRST, sequence=4, at="2017-07-04T06:00:00Z", verdict=None)

    stint = stint_of("p/1", [FIRST, REJECTED, SECOND, again])

    assert stint is not None
    assert (stint.begun, stint.ended) == (again, None)
    assert stint.sentences(None)[0] == "It served from 2017-07-04 06:00 UTC."


def test_what_is_not_known_is_said() -> None:
    """Older records are not read; without any there is nothing to say."""
    stint = stint_of("p/1", [REJECTED, SECOND])

    assert stint is not None
    assert stint.sentences(None) == (
        "It served since before the newest records until 2017-07-03 06:00 UTC, record 3: PROMOTED.",
        "The newest records have no verdict of its rollout.",
        "No monitor window ended in this time.",
    )
    assert stint_of("p/9", [FIRST, SECOND]) is None
    assert stint_of(None, [FIRST]) is None
