"""Waiting times of a verification, and data removed from its report."""

from __future__ import annotations

import pytest
from tests.runtime.verify.answers import Answers, answered

from mlops_runtime.verify.account import ON_AWS, embedded_pace


@pytest.mark.parametrize(("scale", "patience"), [(0.5, 7200), (1, 3600), (10, 360), (15, 240), (30, 240), (1000, 240)])
def test_the_embedded_cloud_is_waited_for_by_its_clock(scale: float, patience: float) -> None:
    """A canary takes the seconds of AWS on the cloud's clock; real work takes real seconds."""
    assert embedded_pace(scale).patience == patience
    assert embedded_pace(scale).patience * scale >= ON_AWS.patience


def test_a_text_has_neither_account_nor_arn() -> None:
    """An ARN is reduced to its service."""
    role = "arn:aws:iam::000000000000:role/r"
    text = f'Stack:arn:aws:cloudformation:us-east-1:000000000000:stack/s/1 is busy, role "{role}" (000000000000)'

    assert answered(Answers()).hide(text) == 'Stack:<ARN of cloudformation> is busy, role "<ARN of iam>" (<account>)'
