"""Values of the options of ``metric_*`` methods: period, statistic and variant, as CloudWatch and the endpoint allow them."""

import math
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mlops_constructs._validation import is_known

# https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricStat.html (Period); the CDK does not accept 20 seconds
_SECONDS = (1, 5, 10, 30)
_MINUTE = 60
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html, and the CDK's short names
_SIMPLE = "average|avg|minimum|min|maximum|max|samplecount|n|sum|iqm"
_SHARE = r"(p|tm|wm|tc|ts)(100(\.0+)?|\d{1,2}(\.\d+)?)"
_PERCENT, _NUMBER = r"(100(\.0+)?|\d{1,2}(\.\d+)?)%", r"\d+(\.\d+)?"
_RANGES = "|".join(f"{each}:({each})?|:{each}" for each in (_PERCENT, _NUMBER))
_STATISTIC = re.compile(rf"(?i:{_SIMPLE}|{_SHARE}|(pr|tm|wm|tc|ts)\(({_RANGES})\))")


def metric_problems(
    options: Mapping[str, Any], *, allowed: Collection[str], variants: Collection[str] | None
) -> Iterator[str]:
    """Yield the problems of options whose types are right.

    Args:
        options: The options of one call.
        allowed: Names of the method's options.
        variants: Names of the endpoint's variants; ``None`` if unknown.
    """
    for name in options:
        if name not in allowed:
            yield f"{name} is not an option of this metric; use {', '.join(allowed)}"
    if "period" in options:
        seconds = options["period"].to_seconds(integral=False)
        if seconds not in _SECONDS and (seconds == 0 or seconds % _MINUTE):
            minutes = max(1, math.ceil(seconds / _MINUTE))
            yield (
                f"period must be {', '.join(map(str, _SECONDS))} or a multiple of 60 seconds, got {seconds:g}; "
                f"use Duration.minutes({minutes})"
            )
    statistic = options.get("statistic")
    if statistic is not None and is_known(statistic) and not _STATISTIC.fullmatch(statistic):
        yield (
            "statistic must be one that CloudWatch computes, such as 'Average' or 'p99', "
            f"got {statistic!r}; use a member of aws_cloudwatch.Stats"
        )
    variant = options.get("variant")
    if is_known(variant) and (not variant or (variants is not None and variant not in variants)):
        names = "the name of one of the endpoint's variants" if variants is None else " or ".join(map(repr, variants))
        yield f"variant must be {names}, got {variant!r}; leave it out for the main variant"
