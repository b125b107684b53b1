"""Every regular expression takes linear time in its input, or a reason says why its input is short or our own."""

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tools.pattern_time import UnknownPatternError, slow

ROOT = Path(__file__).resolve().parents[2]
METHODS = {"match", "fullmatch", "search", "sub", "subn", "split", "findall", "finditer"}
# file and start of the expression: why its time is bounded
ACCEPTED = {
    (
        "mlops_constructs/_assets.py",
        r"^[ \t]*(?:",
    ): "sources of this package; a line is looked at from its start only",
    (
        "mlops_local/kubernetes/pod_containers.py",
        r"\$\$|\$\(",
    ): "the text ends with what ends a reference, so each search succeeds",
    (
        "mlops_local/gateway/mapping_templates.py",
        "([_a-z]",
    ): "airspeed matches it at one position and never searches",
    (
        "mlops_runtime/features/feature_group.py",
        "(?P<syntax>",
    ): "a pattern of the unit's own declaration",
}
# expressions composed of other expressions
MADE = {
    "mlops_cli/feature_location.py": "a counted class",
    "mlops_constructs/_metric_options.py": "digits with one separator between fixed parts, over a developer's statistic",
    "mlops_constructs/_validation.py": "a construct's own patterns over what the developer writes",
    "mlops_local/gateway/integration_mappings.py": "an API's own pattern over a status",
    "mlops_local/gateway/mapping_templates.py": "names of references, and a template's own pattern",
    "mlops_local/load_balancer/routing.py": "a rule's own pattern over the path of a request to this machine",
    "mlops_local/metric_statistics.py": "counted numbers",
    "mlops_local/sagemaker/api_shapes.py": "botocore's patterns, matched only within the length that the shape allows",
    "mlops_runtime/aws_api/api_request.py": "botocore's patterns over definitions of the developer's machines",
    "mlops_runtime/console/api.py": "the table's own patterns of a key and of queries, each a counted class",
    "mlops_runtime/console/route.py": "the table's own patterns of names in a path, counted",
    "mlops_runtime/eks/slot_limits.py": "a counted class",
    "mlops_runtime/features/erasure_arguments.py": "re.escape of a value between assertions of one character",
    "mlops_runtime/features/feature_group.py": "a declaration's pattern over its own values; RE2 checks batches",
    "mlops_runtime/features/glue_quality_rules.py": "a declaration's pattern over an empty string",
    "mlops_runtime/inference_api/api_jobs.py": "a counted class between fixed parts, over the key of one object",
    "mlops_runtime/promotion/promotion_guard.py": "a group's name, escaped, between counted classes, matched whole",
    "mlops_runtime/promotion/release_plan.py": "a unit's name, escaped, and classes with one separator, over short keys",
    "mlops_runtime/rollout/deploy_guard.py": "parts of an ARN, escaped, with a class and a counted number",
    "mlops_runtime/rollout/live_fleet.py": "a name, escaped, and a counted class",
    "mlops_runtime/rollout/rollout_case.py": "a name, escaped, and a counted class",
    "mlops_runtime/serving/row_file.py": "digits and counted classes that only a separator follows, matched whole",
    "mlops_runtime/terraform/unit_module.py": "names of one synthesized stack, escaped",
}


class Use(NamedTuple):
    """A regular expression of the sources, None if composed, and how it is used."""

    file: str
    line: int
    pattern: str | None
    flags: int
    method: str


def _uses() -> Iterator[Use]:
    for folder in ("src", "packages", "lambdas", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            source = path.read_text()
            if re.search(r"\bimport re\b", source):
                yield from _uses_of(str(path.relative_to(ROOT)).rpartition("src/")[2], source)


def _uses_of(file: str, source: str) -> Iterator[Use]:
    tree = ast.parse(source)
    assigned = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    names = {id(value): name for name, value in assigned.items()}
    others = set(re.findall(r"(?<!\bre)\.(\w+)\(", source)) & METHODS
    for node in ast.walk(tree):
        if not (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "re"
        ):
            continue
        if node.func.attr not in METHODS | {"compile"}:
            continue
        given = node.args[0]
        given = assigned.get(given.id, given) if isinstance(given, ast.Name) else given
        is_text = isinstance(given, ast.Constant) and isinstance(given.value, str)
        flags = 0
        for word in (*node.args[1:], *(each.value for each in node.keywords)):
            for part in ast.walk(word):
                if isinstance(part, ast.Attribute) and part.attr.isupper() and ast.unparse(part.value) == "re":
                    flags |= getattr(re, part.attr)
        methods = {node.func.attr}
        if node.func.attr == "compile":
            name = names.get(id(node))
            methods = set(re.findall(rf"\b{name}\.(\w+)\(", source)) & METHODS or others or {"search"}
        for method in sorted(methods):
            yield Use(file, node.lineno, given.value if is_text else None, flags, method)


@functools.cache
def _all_uses() -> tuple[Use, ...]:
    return tuple(_uses())


def test_every_expression_takes_linear_time() -> None:
    """Linear for searches too; listed exceptions still exist."""
    found, accepted = {}, set()
    for use in _all_uses():
        if use.pattern is None:
            continue
        try:
            why = slow(use.pattern, use.flags, method=use.method)
        except UnknownPatternError as error:
            why = str(error)
        key = next((key for key in ACCEPTED if key[0] == use.file and use.pattern.startswith(key[1])), None)
        if why is not None and key is not None:
            accepted.add(key)
        elif why is not None:
            found[f"{use.file}:{use.line}"] = f"{use.method} {use.pattern!r}: {why}"

    assert len(_all_uses()) > 150
    assert found == {}
    assert accepted == set(ACCEPTED)


def test_expressions_that_are_made_of_parts_are_listed() -> None:
    """Lists each file with composed expressions and the bound of their time."""
    assert {use.file for use in _all_uses() if use.pattern is None} == set(MADE)
