"""Taken releases compared with the records of the source's chain."""

from dataclasses import replace

import pytest

from mlops_runtime.contracts import content_hash
from mlops_runtime.contracts.rollout import AuditRecord, Outcome
from mlops_runtime.promotion.source_records import unreleased, untaken

RELEASED = AuditRecord(
    endpoint="demand-forecast.releases",
    sequence=1,
    previous="0" * 64,
    outcome=Outcome.RELEASED,
    reason="approved",
    execution="arn:release",
    at="2017-08-01T09:00:00Z",
    requested_by="approved e1",
    model_sha256="b" * 64,
)
TAKEN = replace(
    RELEASED,
    endpoint="demand-forecast.promotions",
    sequence=4,
    outcome=Outcome.REGISTERED,
    source_record=content_hash(RELEASED),
)


def test_what_the_source_released_may_be_taken() -> None:
    """By the hash of its record, anywhere in the chain."""
    other = replace(RELEASED, sequence=2, previous="1" * 64)

    assert unreleased([TAKEN], [other, RELEASED]) == []


@pytest.mark.parametrize(
    ("taken", "source", "problem"),
    [
        (TAKEN, replace(RELEASED, reason="changed"), "the source's chain does not have"),
        (replace(TAKEN, source_record=None), RELEASED, "record 4 names no record of the source"),
        (
            replace(TAKEN, model_sha256="c" * 64),
            RELEASED,
            f"is about model {'c' * 64}, the source's record 1 about {'b' * 64}",
        ),
    ],
)
def test_what_it_did_not_release_is_named(taken: AuditRecord, source: AuditRecord, problem: str) -> None:
    """A missing or changed record, or one of another model."""
    (found,) = unreleased([taken], [source])

    assert problem in found


def test_a_record_of_another_outcome_releases_nothing() -> None:
    """A rejection in the source is no release."""
    refusal = replace(RELEASED, outcome=Outcome.REFUSED)

    (found,) = unreleased([replace(TAKEN, source_record=content_hash(refusal))], [refusal])

    assert found == "record 4 names the source's record 1, which is REFUSED, not RELEASED"


def test_a_refused_offer_may_name_anything() -> None:
    """Its record was not trusted, so it proves nothing about the source."""
    assert unreleased([replace(TAKEN, outcome=Outcome.REFUSED, source_record="f" * 64)], [RELEASED]) == []


def test_a_model_that_the_source_did_not_take_is_named() -> None:
    """If the source itself takes its models from another account; rejected ones do not count."""
    refused = replace(TAKEN, outcome=Outcome.REFUSED)

    assert untaken([TAKEN], [replace(TAKEN, sequence=1, source_record="0" * 64)]) == []
    assert untaken([refused], []) == []
    (found,) = untaken([TAKEN], [refused])
    assert found.startswith(f"record 4 is about model {'b' * 64}, but the source, which takes")
