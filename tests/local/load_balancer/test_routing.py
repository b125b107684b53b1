"""Routing rules of a load balancer as data."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_local.load_balancer import routing
from mlops_local.load_balancer.routing import Listener, Routing, Rule


@given(st.lists(st.integers(0, 999), min_size=1, max_size=5))
def test_shares_are_those_of_the_weights(weights: list[int]) -> None:
    """Of a million numbers each group gets its share, and the last one ends at the top unless all weights are 0."""
    bounds = routing.thresholds(weights, 1_000_000)

    shares = [end - start for start, end in zip([0, *bounds], bounds, strict=False)]
    if sum(weights) == 0:
        assert bounds == [0] * len(weights)
    else:
        assert bounds[-1] == 1_000_000
        assert all(
            abs(share - 1_000_000 * weight / sum(weights)) <= 1 for share, weight in zip(shares, weights, strict=True)
        )


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/invocations", "/invocations", True),
        ("/invocations", "/invocations/x", False),
        ("/v2/*", "/v2/models/a/infer", True),
        ("/a?c", "/abc", True),
        ("/a.c", "/abc", False),
    ],
)
def test_patterns_are_those_of_path_conditions(pattern: str, path: str, matches: bool) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html#path-conditions."""
    assert Rule(paths=(pattern,)).matches("any", path) is matches


def test_hosts_are_compared_without_case() -> None:
    """The same page, host conditions."""
    assert Rule(hosts=("*.Example.com",)).matches("API.example.COM", "/")
    assert not Rule(hosts=("*.example.com",), paths=("/a",)).matches("api.example.com", "/b")


def test_rules_are_tried_by_priority_and_the_default_last() -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-listeners.html#listener-rules."""
    rules = [{"Priority": "default"}, {"Priority": "20"}, {"Priority": "3"}]

    assert [rule["Priority"] for rule in routing.listener_rules(rules)] == ["3", "20", "default"]


def test_a_record_becomes_a_rule() -> None:
    """Groups by name with their weights, without unknown ones; or a fixed response."""
    action = {
        "Type": "forward",
        "Groups": [{"TargetGroupArn": "a", "Weight": 90}, {"TargetGroupArn": "gone", "Weight": 10}],
    }
    record = {"Conditions": [{"Field": "path-pattern", "Values": ["/x"]}], "Actions": [action]}

    assert routing.rule(record, {"a": "targetgroup/a"}) == Rule(paths=("/x",), groups=(("targetgroup/a", 90),))
    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    assert routing.rule({"Actions": [fixed]}, {}).fixed == (404, "text/plain", "")


def test_weights_and_targets_are_not_structure() -> None:
    """A running proxy takes them over without a new process."""
    one = Routing((Listener(80, (Rule(groups=(("a", 1), ("b", 2))),)),), {"a": (("127.0.0.1", 1),)})
    same = Routing((Listener(80, (Rule(groups=(("a", 5), ("b", 0))),)),), {"a": ()})
    other = Routing((Listener(80, (Rule(groups=(("a", 1),)),)),), {"a": ()})

    assert one.structure() == same.structure()
    assert one.structure() != other.structure()


@pytest.mark.parametrize(("codes", "expected"), [("200", {200}), ("200,302", {200, 302}), ("200-202", {200, 201, 202})])
def test_matchers_are_codes_lists_and_ranges(codes: str, expected: set[int]) -> None:
    """https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Matcher.html."""
    assert routing.matcher(codes) == expected
