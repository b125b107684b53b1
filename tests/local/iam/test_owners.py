"""Owner account and Region of a resource."""

import pytest
from ministack.core.responses import get_account_id, get_region, request_scope
from ministack.services import s3

from mlops_local import settings
from mlops_local.iam.owners import Owner, account_of, owner, scope_of

BUILD, STAGING = "111111111111", "222222222222"


@pytest.fixture(autouse=True)
def two_accounts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give the cloud both accounts, and the first a bucket in Ireland."""
    monkeypatch.setattr(settings, "accounts", (BUILD, STAGING))
    with request_scope(BUILD, "us-east-1"):
        monkeypatch.setitem(s3._buckets, "owned-bucket", {"region": "eu-west-1"})


@pytest.mark.parametrize(
    ("arn", "found"),
    [
        (f"arn:aws:kms:eu-west-1:{BUILD}:key/x", Owner(BUILD, "eu-west-1")),
        (f"arn:aws:iam::{STAGING}:role/x", Owner(STAGING, "us-east-1")),
        ("arn:aws:s3:::owned-bucket/a/b", Owner(BUILD, "eu-west-1")),
        ("arn:aws:s3:::owned-bucket", Owner(BUILD, "eu-west-1")),
        ("arn:aws:s3:::no-bucket/a", None),
        ("arn:aws:ecr:us-east-1:683313688378:repository/sagemaker", None),
        ("arn:aws:iam::aws:policy/ReadOnlyAccess", None),
        ("*", None),
    ],
)
def test_an_arn_names_its_owner(arn: str, found: Owner | None) -> None:
    """A bucket belongs to its owner, whatever the caller's account; AWS's own accounts do not exist in this cloud."""
    with request_scope(STAGING, "us-east-1"):
        assert owner(arn) == found


def test_a_scope_is_entered_and_left() -> None:
    """Without an owner the request's account stays."""
    with request_scope(STAGING, "us-east-1"):
        with scope_of(Owner(BUILD, "eu-west-1")):
            assert (get_account_id(), get_region()) == (BUILD, "eu-west-1")
        with scope_of(None):
            assert (get_account_id(), get_region()) == (STAGING, "us-east-1")
        assert account_of(f"arn:aws:sts::{BUILD}:assumed-role/r/s") == BUILD
        assert account_of("service:events.amazonaws.com") == STAGING
