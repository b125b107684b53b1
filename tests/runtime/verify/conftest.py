"""A ``Place`` on the session's embedded cloud with unique names per test."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from mlops_runtime.verify.account import Names, Pace, Place

if TYPE_CHECKING:
    from mlops_local.cloud import Cloud

_number = itertools.count(1)


@pytest.fixture
def place(cloud: Cloud) -> Place:
    """Return the ``Place`` of this test's verification."""
    name = f"verify-unit-{next(_number)}"
    return Place(
        client=cloud.client,
        account="000000000000",
        region="us-east-1",
        caller="arn:aws:iam::000000000000:root",
        cloud="embedded",
        names=Names(unit=name, stack=name, bucket=f"{name}-files", lock=f"/{name}/lock"),
        now=lambda: datetime.fromisoformat(cloud.clock()["now"]),
        wall=lambda: datetime.now(UTC),
        pace=Pace(poll=0.1, quiet=1, patience=60),
        command="mlops verify --clean",
    )
