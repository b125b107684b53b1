"""Each rule of ``MlopsChecks`` on a violating and a compliant stack of stock CDK."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import pytest
from tests.constructs.compliance.rule_cases import CASES, Case

from mlops_constructs.compliance.mlops_checks import MlopsChecks
from mlops_constructs.compliance.rules import RULES


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """Findings by stack, of one app with two stacks for each rule."""
    app = cdk.App(outdir=str(tmp_path_factory.mktemp("rules")))
    for rule, case in CASES.items():
        for kind, build in (("Breaks", case.breaks), ("Keeps", case.keeps)):
            build(cdk.Stack(app, f"{kind}{rule}"))
    findings: dict[str, set[str]] = {f"{kind}{rule}": set() for rule in CASES for kind in ("Breaks", "Keeps")}
    for violation in MlopsChecks(app).validate_scope(app).violations:
        for resource in violation.violating_resources:
            stack, _, inside = str(resource.construct_path).partition("/")
            findings[stack].add(f"{violation.rule_name} at {inside}")
    return findings


def test_every_rule_has_its_case() -> None:
    """There are at least fifteen rules with unique names."""
    names = [rule.id for rule in RULES]

    assert sorted(names) == sorted(CASES)
    assert len(set(names)) == len(names) >= 15


def test_the_page_for_reviewers_lists_every_rule() -> None:
    """The page lists only existing rules."""
    page = Path(__file__).parents[3].joinpath("docs", "reviewer.md").read_text()
    table = page.partition("| rule | finding |")[2].partition("\n\n")[0]

    assert re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE) == sorted(CASES)


@pytest.mark.parametrize("rule", sorted(CASES))
def test_a_rule_finds_what_breaks_it(rule: str, found: Mapping[str, set[str]]) -> None:
    """Each finding names the rule, the state or detail, and the construct."""
    mine = {finding for finding in found[f"Breaks{rule}"] if finding.startswith((f"Mlops-{rule}[", f"Mlops-{rule} "))}

    assert mine == {f"Mlops-{rule}{finding}" for finding in CASES[rule].findings}


@pytest.mark.parametrize("rule", sorted(CASES))
def test_a_rule_is_silent_on_what_keeps_it(rule: str, found: Mapping[str, set[str]]) -> None:
    """The compliant resource has no finding."""
    assert not {
        finding for finding in found[f"Keeps{rule}"] if finding.startswith((f"Mlops-{rule}[", f"Mlops-{rule} "))
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_a_rule_says_what_where_and_the_fix(rule: Any) -> None:
    """Descriptions are sentences with a reference to AWS's documentation."""
    assert rule.problem.endswith(".")
    assert rule.fix.endswith(".")
    assert rule.source.startswith("https://docs.aws.amazon.com/")


def test_cases_are_of_stock_cdk() -> None:
    """Cases use no construct of this library."""
    builds: list[Callable[..., Any]] = [build for case in CASES.values() for build in (case.breaks, case.keeps)]

    assert all(build.__module__ == Case.__module__ for build in builds)
    assert "mlops" not in json.dumps([build.__qualname__ for build in builds]).lower()
