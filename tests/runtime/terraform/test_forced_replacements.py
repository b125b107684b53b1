"""Arguments that replace a resource: the table has every kind of a module, and no module sets a rejected argument."""

import json
import re
from pathlib import Path

import pytest
from tests.terraform.stub import arguments, expressions_of

from mlops_runtime.terraform import unit_module as modules
from mlops_runtime.terraform.forced_replacements import FORCED_REPLACEMENTS, ForcedReplacement, replacement_problems

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTED = json.loads((ROOT / "tests" / "terraform" / "provider.json").read_text())
STACK = modules.UnitStack(name="Small", template={"Resources": {}}, bucket="b", files={"a.zip": "files/a.zip"}, tags={})
EXPORTED = modules.unit_module(STACK)["main.tf"]
HANDWRITTEN = [(ROOT / "terraform" / name / "main.tf").read_text() for name in ("platform", "endpoint")]


def test_every_kind_is_known_with_the_commit_that_was_read() -> None:
    """The kinds are those of the table of names and those of a module; a data source is never replaced."""
    kinds = {kind for kind in DOCUMENTED if kind.startswith("aws_")}

    assert kinds == set(FORCED_REPLACEMENTS)
    assert {kind for text in (EXPORTED, *HANDWRITTEN) for kind in arguments(text) if kind.startswith("aws_")} == kinds
    for kind, known in FORCED_REPLACEMENTS.items():
        assert re.fullmatch(r"[0-9a-f]{40}", known.commit)
        assert {*known.identity} <= set(DOCUMENTED[kind]["arguments"])


@pytest.mark.parametrize("text", [EXPORTED, *HANDWRITTEN], ids=["exported", "platform", "endpoint"])
def test_no_module_can_replace_what_it_should_change(text: str) -> None:
    """Only names force a replacement, and none of them is read from a data source."""
    for kind, given in expressions_of(text):
        assert replacement_problems(kind, given) == []


@pytest.mark.parametrize(
    ("kind", "given", "problem"),
    [
        ("aws_cloudformation_stack", {"timeout_in_minutes": "var.minutes"}, "timeout_in_minutes replaces the resource"),
        ("aws_cloudformation_stack", {"on_failure": '"DELETE"'}, "on_failure replaces the resource"),
        ("aws_s3_object", {"bucket": "data.aws_s3_bucket.assets.id"}, "bucket names the resource with a data source"),
        ("aws_sns_topic", {}, "aws_sns_topic is not among the kinds"),
    ],
)
def test_what_replaces_is_refused(kind: str, given: dict[str, str], problem: str) -> None:
    """The message contains the argument and the fix."""
    (found,) = replacement_problems(kind, given)

    assert problem in found


def test_an_argument_that_replaces_stops_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """The export stops before it writes a file."""
    known = FORCED_REPLACEMENTS["aws_cloudformation_stack"]
    settings = (*known.settings, "policy_body")
    changed = ForcedReplacement(source=known.source, commit=known.commit, identity=known.identity, settings=settings)
    stricter = {**FORCED_REPLACEMENTS, "aws_cloudformation_stack": changed}
    monkeypatch.setattr("mlops_runtime.terraform.forced_replacements.FORCED_REPLACEMENTS", stricter)

    with pytest.raises(
        modules.ExportError, match=r"Small could replace .*aws_cloudformation_stack.policy_body replaces"
    ):
        modules.unit_module(STACK)
