"""Comparison of two descriptions of an account."""

from tests.campaign.lifecycle.settings import _steady, differences


def test_what_changed_is_named_with_its_place() -> None:
    """Names added, removed and changed resources."""
    before = {"sqs a": '[{"Wait": "0"}]', "sqs b": "[]"}
    after = {"sqs a": '[{"Wait": "1"}]', "sqs c": "[]"}
    assert differences(before, after) == ["left sqs c", "lost sqs b", "changed sqs a: /0/Wait was 0, is 1"]


def test_times_and_versions_do_not_count() -> None:
    """Ignores times and versions, because a rolled-back update is two updates; parses documents in strings."""
    one = {"LastModified": "1", "Version": "3", "Policy": '{"b": 1, "a": [2, 1]}', "MemorySize": 128}
    other = {"LastModified": "2", "Version": "4", "Policy": '{"a": [1, 2], "b": 1}', "MemorySize": 128}
    assert _steady(one) == _steady(other)
    assert _steady({**other, "MemorySize": 192}) != _steady(one)


def test_a_function_that_is_pending_is_as_before() -> None:
    """A pending function is soon active and counts as unchanged; a disabled rule is a difference."""
    assert _steady({"State": "Pending", "Timeout": 3}) == _steady({"State": "Active", "Timeout": 3})
    assert _steady({"State": "DISABLED"}) != _steady({"State": "ENABLED"})
