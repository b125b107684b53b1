r"""A group's constraints as an AWS Glue Data Quality ruleset, for rows written by other means than ``ingest``.

DQDL's semantics decide the form. Nulls fail ``ColumnValues``, and ``or`` combines results of whole columns, so a rule of a nullable
column has a ``where`` for non-null values. ``between`` excludes its ends, so bounds are two rules. ``matches`` takes a backslash
literally and matches any part of the value; in ``in`` a backslash escapes, and a string that looks like a date is a date. Spark
orders NaN as the greatest number. Standard library only.

See: https://docs.aws.amazon.com/glue/latest/dg/dqdl.html
See: https://docs.aws.amazon.com/glue/latest/dg/dqdl-rule-types-ColumnValues.html
See: https://github.com/awslabs/dqdl
"""

import re
import struct
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from mlops_runtime.features.column_type import ColumnType
from mlops_runtime.features.feature_group import CREATED_TIME, EVENT_TIME, RESERVED, Feature, FeatureGroup, Value

# https://docs.aws.amazon.com/glue/latest/webapi/API_CreateDataQualityRuleset.html
MAX_RULESET = 65536

_EXACT = 2**53  # DQDL compares numbers as doubles
_QUOTE = re.compile(r'(\\[^"])|\\?"', re.DOTALL)
_DATE_OR_TIME = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}:\d\d( [AP]M)?")


class RulesetError(ValueError):
    """The constraints of a group exceed the maximum size of a Glue Data Quality ruleset."""


def dqdl(group: FeatureGroup) -> str:
    """Return the ruleset of a group: key, required values, constraints, and no time after the current one.

    Raises:
        RulesetError: If it is longer than 65,536 characters, Glue's maximum.

    Example:
        >>> from mlops_runtime.features.feature_group import Entity
        >>> stock = FeatureGroup(
        ...     name="stock",
        ...     entities=(Entity("store_id", "string", "store"),),
        ...     features=(Feature("on_hand", "long", "units on hand", nullable=True, minimum=0),),
        ...     owner="demand",
        ...     description="stock",
        ... )
        >>> print(dqdl(stock).splitlines()[6].strip())
        ColumnValues "on_hand" >= 0 where "`on_hand` is not null",
    """
    rules = ",\n".join(f"  {rule}" for rule in _rules(group))
    text = f"Rules = [\n{rules}\n]\n"
    if len(text) > MAX_RULESET:
        longest = max(group.features, key=lambda feature: sum(map(len, _feature_rules(feature))))
        raise RulesetError(
            f"the data quality ruleset of {group.table_name} has {len(text)} characters, Glue's maximum is {MAX_RULESET}; "
            f"shorten the constraints of {longest.name!r}, for example by a pattern instead of allowed values, or divide the group"
        )
    return text


def _rules(group: FeatureGroup) -> Iterable[str]:
    key = " ".join(f'"{name}"' for name in (*group.entity_names, *RESERVED))
    yield f"IsPrimaryKey {key}"
    for column in group.columns:
        if column.required:
            yield f'IsComplete "{column.name}"'
    for feature in group.features:
        yield from _feature_rules(feature)
    latest = "current_timestamp()"
    if group.lead:
        yield _none(f"`{EVENT_TIME}` > {latest} + interval '{group.lead // timedelta(microseconds=1)}' microsecond")
    else:
        yield _none(f"`{EVENT_TIME}` > {latest}")
    yield _none(f"`{CREATED_TIME}` > {latest}")


def _feature_rules(feature: Feature) -> Iterable[str]:
    bounds = (("minimum", ">=", "<"), ("maximum", "<=", ">"))
    for word, holds, breaks in bounds:
        bound = getattr(feature, word)
        if bound is None:
            continue
        if _in_sql(feature, bound):
            yield _none(f"`{feature.name}` {breaks} {_sql(bound)}")
        else:
            yield _values(feature, f"{holds} {_literal(feature, bound)}")
    if feature.type in ("float", "double") and feature.minimum is not None and feature.maximum is None:
        yield _none(f"isnan(`{feature.name}`)")
    if feature.allowed is not None:
        yield _allowed_rule(feature, feature.allowed)
    if feature.pattern is not None:
        yield _matching_rule(feature, feature.pattern)


def _allowed_rule(feature: Feature, allowed: tuple[Value, ...]) -> str:
    if any(isinstance(value, str) and _DATE_OR_TIME.fullmatch(value) for value in allowed):
        return _matching_rule(feature, "|".join(re.escape(str(value)) for value in allowed))
    if any(_in_sql(feature, value) for value in allowed):
        return _none(f"`{feature.name}` not in ({', '.join(map(_sql, allowed))})")
    return _values(feature, f"in [{', '.join(_literal(feature, value) for value in allowed)}]")


def _matching_rule(feature: Feature, pattern: str) -> str:
    quoteless = _QUOTE.sub(lambda found: found[1] or r"\x22", pattern)
    whole = rf"\A(?:{quoteless})\z"
    # an empty value has no part to match, so skip it if the pattern allows it
    empty = f"`{feature.name}` <> ''" if re.fullmatch(pattern, "", re.ASCII) else None
    return _values(feature, f'matches "{whole}"', empty)


def _values(feature: Feature, expression: str, where: str | None = None) -> str:
    conditions = [f"`{feature.name}` is not null"] if feature.nullable else []
    conditions += [where] if where else []
    looked_at = f' where "{" and ".join(conditions)}"' if conditions else ""
    return f'ColumnValues "{feature.name}" {expression}{looked_at}'


def _none(condition: str) -> str:
    return f'CustomSql "select count(*) from primary where {condition}" = 0'  # noqa: S608 - of declarations alone


def _in_sql(feature: Feature, value: Value) -> bool:
    """Return whether DQDL has no exact literal for a value."""
    return ColumnType.of(feature.type).base in ("boolean", "timestamp", "decimal") or (
        isinstance(value, int) and abs(value) > _EXACT
    )


def _literal(feature: Feature, value: Value) -> str:
    if isinstance(value, str):
        return '"{}"'.format(value.replace("\\", r"\\").replace('"', r"\""))
    if isinstance(value, date):
        return f'"{value.isoformat()}"'
    if feature.type == "float":  # Spark compares the column as double, so round the bound to float
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    return format(Decimal(str(value)), "f")


def _sql(value: Value) -> str:
    if isinstance(value, datetime):
        return f"timestamp '{value.astimezone(UTC).isoformat(sep=' ')}'"
    if isinstance(value, Decimal):
        return format(value, "f")  # with an exponent it would be a double
    return str(value).lower()
