"""Constraints of features: what may be declared, and what makes no sense."""

from datetime import UTC, date, datetime

import pytest

from mlops_runtime.features.constraints import constraint_problems
from mlops_runtime.features.group import Feature

DAY = date(2017, 1, 1)
TIME = datetime(2017, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("type_", "constraints"),
    [
        ("int", {"minimum": 0, "maximum": 0}),
        ("long", {"minimum": -(2**63), "maximum": 2**63 - 1}),
        ("float", {"minimum": 0, "maximum": 1.5}),
        ("double", {"minimum": 0, "allowed": (0, 1.0)}),
        ("date", {"minimum": DAY, "maximum": DAY}),
        ("timestamp", {"minimum": TIME, "allowed": (TIME,)}),
        ("boolean", {"allowed": (True,)}),
        ("string", {"allowed": ("A1", "B2"), "pattern": "[AB]\\d"}),
        ("string", {"pattern": r"\(?=[(?=Z\]]a{1,3}(?:b|c)*?\\\+1{1000}"}),
    ],
)
def test_sound_constraints_have_no_problem(type_, constraints):
    """Bounds of the feature's type, lists of its values and patterns of strings are taken."""
    assert list(constraint_problems(Feature("x", type_, "x", **constraints))) == []


@pytest.mark.parametrize(
    ("type_", "constraints", "message"),
    [
        ("double", {"minimum": 1, "maximum": 0}, "minimum must be at most maximum, got 1 and 0"),
        ("double", {"minimum": float("nan")}, "minimum must be a finite number, got nan"),
        ("double", {"maximum": float("inf")}, "maximum must be a finite number, got inf; leave it out for no bound"),
        ("double", {"maximum": 10**400}, "maximum must be a finite number, got 1000"),
        ("float", {"maximum": 1e300}, "maximum must be a finite number of 32 bits, got 1e+300"),
        ("float", {"allowed": (0.1, "a")}, "allowed must hold a finite number of 32 bits each, got 'a'"),
        ("double", {"minimum": True}, "minimum must be a finite number, got True"),
        ("int", {"minimum": 0.5}, "minimum must be an int of 32 bits, got 0.5"),
        ("int", {"maximum": 2**31}, "maximum must be an int of 32 bits, got 2147483648"),
        ("long", {"maximum": 2**63}, "maximum must be an int of 64 bits"),
        ("string", {"minimum": "a"}, "minimum is for int, long, float, double, date, timestamp, got 'a' on string"),
        ("boolean", {"maximum": True}, "maximum is for int, long"),
        ("date", {"minimum": TIME}, "minimum must be a datetime.date, got datetime.datetime(2017"),
        ("date", {"minimum": "2017-01-01"}, "minimum must be a datetime.date, got '2017-01-01'"),
        ("timestamp", {"minimum": datetime(2017, 1, 1)}, "minimum must be a datetime with a time zone"),
        ("timestamp", {"minimum": DAY}, "minimum must be a datetime with a time zone"),
        ("string", {"allowed": ()}, "allowed must be a tuple of at least one value, got ()"),
        ("string", {"allowed": ["a"]}, "allowed must be a tuple of at least one value, got ['a']"),
        ("string", {"allowed": ("a", 1)}, "allowed must hold a str each, got 1"),
        ("long", {"allowed": (1, True)}, "allowed must hold an int of 64 bits each, got True"),
        ("double", {"allowed": (1.0, float("nan"))}, "allowed must hold a finite number each, got nan"),
        ("string", {"allowed": ("a", "a")}, "allowed names 'a' more than once"),
        ("long", {"allowed": (1, 7), "maximum": 3}, "allowed holds 7 beyond maximum 3"),
        ("long", {"allowed": (1, 7), "minimum": 3}, "allowed holds 1 beyond minimum 3"),
        ("string", {"allowed": ("a", "b"), "pattern": "a"}, "allowed holds 'b', which pattern 'a' does not match"),
        ("long", {"pattern": "1+"}, "pattern is for string, got '1+' on long"),
        ("string", {"pattern": "("}, "pattern must be a regular expression, got '('"),
        ("string", {"pattern": 7}, "pattern must be a str, got 7"),
        ("string", {"pattern": "(?!a)b"}, "uses (?!, which RE2 does not know"),
        ("string", {"pattern": "(?<=a)b"}, "uses (?<=, which RE2 does not know"),
        ("string", {"pattern": r"(a)\1"}, r"uses \1, which RE2 does not know"),
        ("string", {"pattern": "a*+"}, "uses *+, which RE2 does not know"),
        ("string", {"pattern": "a{1001}"}, "uses {1001, which RE2 does not know"),
    ],
)
def test_fails_when_a_constraint_makes_no_sense(type_, constraints, message):
    """Each problem names the constraint, the value and what is needed."""
    problems = list(constraint_problems(Feature("x", type_, "x", **constraints)))
    assert len(problems) == 1
    assert message in problems[0]


def test_every_problem_of_a_feature_is_named():
    """Bounds, list and pattern are judged together."""
    feature = Feature("x", "string", "x", minimum=1, allowed=(1,), pattern="(")
    assert [problem.split()[0] for problem in constraint_problems(feature)] == ["minimum", "allowed", "pattern"]
