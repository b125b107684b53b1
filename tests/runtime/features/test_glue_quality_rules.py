"""Rulesets of Glue Data Quality: their rules, and that they are valid DQDL.

The tokens and rules of the language are those of https://github.com/awslabs/dqdl (configuration/dqdl/*.g4), as far as
they are used.
"""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_runtime.features.feature_group import Entity, Feature, FeatureGroup
from mlops_runtime.features.glue_quality_rules import MAX_RULESET, RulesetError, dqdl

GROUP = FeatureGroup(
    name="stock",
    entities=(Entity("store_id", "string", "store"), Entity("sku", "long", "product")),
    features=(Feature("x", "long", "x"),),
    owner="demand",
    description="stock",
)
TOKENS = re.compile(
    r"""(?P<date>"\d{4}-\d\d-\d\d") | (?P<time>"\d{1,2}:\d\d(?:[ ][AP]M)?") | (?P<string>"(?:\\["\\]|[^"])*?")
    | (?P<decimal>\d+\.\d+) | (?P<int>\d+) | (?P<op>>=|<=|=) | (?P<mark>[\[\],-]) | (?P<word>[a-zA-Z0-9_.]+)
    | (?P<space>[ \t\n]+)""",
    re.VERBOSE | re.ASCII,
)
NUMBER = r"(?:mark:- )?(?:int|decimal)"
LISTS = "|".join(rf"word:in mark:\[ {kind}(?: mark:, {kind})* mark:\]" for kind in ("string", "date", NUMBER))
RULE = re.compile(
    rf"word string (?:op {NUMBER}|op date|word:matches string|{LISTS})(?: word:where string)?|word(?: string)+"
)


def rules_of(text: str) -> list[str]:
    """Return the rules of a ruleset as token kinds, lexed as by the language's own lexer."""
    assert text.startswith("Rules = [\n")
    assert text.endswith("\n]\n")
    body = text.removeprefix("Rules = [").removesuffix("]\n")
    rules: list[list[str]] = [[]]
    position = depth = 0
    while position < len(body):
        found = TOKENS.match(body, position)
        assert found, body[position:]
        position = found.end()
        kind, value = str(found.lastgroup), found[0]
        depth += {"[": 1, "]": -1}.get(value, 0)
        if value == "," and not depth:
            rules.append([])
        elif kind != "space":
            exact = kind == "mark" or value in ("matches", "in", "where")
            rules[-1].append(f"{kind}:{value}" if exact else kind)
    return [" ".join(rule) for rule in rules]


def rules(feature: Feature) -> list[str]:
    """Return the rules of a feature, without those of every group."""
    text = dqdl(replace(GROUP, features=(feature,)))
    assert all(RULE.fullmatch(rule) for rule in rules_of(text)), rules_of(text)
    common = dqdl(replace(GROUP, features=(Feature("x", "long", "x", nullable=feature.nullable),)))
    head, tail = common.split("  CustomSql", 1)
    assert text.startswith(head)
    assert text.endswith(tail)
    own = text.removeprefix(head).removesuffix("  CustomSql" + tail)
    return [rule.strip() for rule in re.split(r",\n", own)[:-1]]


def test_every_group_has_rules_of_key_and_times():
    """The key with times and ingest id is unique, required columns are complete, and no time is in the future."""
    assert dqdl(replace(GROUP, lead=timedelta(hours=1))).splitlines() == [
        "Rules = [",
        '  IsPrimaryKey "store_id" "sku" "event_time" "created_time" "ingest_id",',
        '  IsComplete "store_id",',
        '  IsComplete "sku",',
        '  IsComplete "event_time",',
        '  IsComplete "created_time",',
        '  IsComplete "ingest_id",',
        '  IsComplete "x",',
        '  CustomSql "select count(*) from primary where `event_time` > current_timestamp() '
        "+ interval '3600000000' microsecond\" = 0,",
        '  CustomSql "select count(*) from primary where `created_time` > current_timestamp()" = 0',
        "]",
    ]


@pytest.mark.parametrize(
    ("type_", "constraints", "expected"),
    [
        ("long", {"minimum": -1, "maximum": 9}, ['ColumnValues "x" >= -1', 'ColumnValues "x" <= 9']),
        ("long", {"minimum": 0, "nullable": True}, ['ColumnValues "x" >= 0 where "`x` is not null"']),
        ("long", {"maximum": 2**53 + 1}, ['CustomSql "select count(*) from primary where `x` > 9007199254740993" = 0']),
        (
            "double",
            {"minimum": 1e-7},
            ['ColumnValues "x" >= 0.0000001', 'CustomSql "select count(*) from primary where isnan(`x`)" = 0'],
        ),
        ("double", {"minimum": 0, "maximum": 1.5e10}, ['ColumnValues "x" >= 0', 'ColumnValues "x" <= 15000000000.0']),
        ("float", {"maximum": 0.1}, ['ColumnValues "x" <= 0.10000000149011612']),
        ("int", {"allowed": (0, 1)}, ['ColumnValues "x" in [0, 1]']),
        ("string", {"allowed": ('a"b', "c\\")}, [r'ColumnValues "x" in ["a\"b", "c\\"]']),
        ("string", {"allowed": ("2017-01-01", "a.b")}, [r'ColumnValues "x" matches "\A(?:2017\-01\-01|a\.b)\z"']),
        ("string", {"pattern": r"[A-Z]\d+"}, [r'ColumnValues "x" matches "\A(?:[A-Z]\d+)\z"']),
        ("string", {"pattern": r'"|\"|\\"'}, [r'ColumnValues "x" matches "\A(?:\x22|\x22|\\\x22)\z"']),
        ("string", {"pattern": "a*"}, [r"""ColumnValues "x" matches "\A(?:a*)\z" where "`x` <> ''" """.strip()]),
        ("date", {"minimum": date(2017, 1, 1)}, ['ColumnValues "x" >= "2017-01-01"']),
        ("date", {"allowed": (date(2017, 1, 1),)}, ['ColumnValues "x" in ["2017-01-01"]']),
        (
            "timestamp",
            {"maximum": datetime(2017, 1, 1, 12, tzinfo=UTC)},
            ["CustomSql \"select count(*) from primary where `x` > timestamp '2017-01-01 12:00:00+00:00'\" = 0"],
        ),
        (
            "decimal(9,2)",
            {"minimum": 0, "allowed": (Decimal("1.10"), Decimal("1E+2"))},
            [
                'CustomSql "select count(*) from primary where `x` < 0" = 0',
                'CustomSql "select count(*) from primary where `x` not in (1.10, 100)" = 0',
            ],
        ),
        ("boolean", {"allowed": (True,)}, ['CustomSql "select count(*) from primary where `x` not in (true)" = 0']),
    ],
)
def test_each_constraint_is_a_rule(type_, constraints, expected):
    """Bounds, lists and patterns have the same meaning in DQDL as in the checks of a batch."""
    assert rules(Feature("x", type_, "x", **constraints)) == expected


VALUES = {
    "int": st.integers(-(2**31), 2**31 - 1),
    "long": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "double": st.floats(allow_nan=False, allow_infinity=False),
    "string": st.text(),
    "date": st.dates(),
    "timestamp": st.datetimes(timezones=st.just(UTC)),
    "boolean": st.booleans(),
    "decimal(9,2)": st.decimals(-9_999_999, 9_999_999, places=2),
}


@given(data=st.data(), type_=st.sampled_from(sorted(VALUES)), nullable=st.booleans())
def test_whatever_is_declared_is_dqdl(data, type_, nullable):
    """Values of any type give valid rules."""
    allowed = tuple(data.draw(st.lists(VALUES[type_], min_size=1, max_size=3, unique=True)))
    bounds = {} if type_ in ("string", "boolean") else {"minimum": min(allowed), "maximum": max(allowed)}
    feature = Feature("x", type_, "x", nullable=nullable, allowed=allowed, **bounds)
    assert len(rules(feature)) == 1 + len(bounds)


def test_fails_when_the_ruleset_is_longer_than_glue_takes():
    """The error names the group, the length and the feature to shorten; the limit is Glue's."""
    shape = botocore.session.get_session().get_service_model("glue").shape_for("DataQualityRulesetString")
    assert shape.metadata["max"] == MAX_RULESET
    many = Feature("code", "string", "x", allowed=tuple(f"{n:09}" for n in range(6000)))
    with pytest.raises(
        RulesetError, match=r"stock_v1 has \d{5} characters, Glue's maximum is 65536; shorten .* of 'code'"
    ):
        dqdl(replace(GROUP, features=(*GROUP.features, many)))
