"""The hash of a machine's definition covers every byte except one value."""

import copy
import json
from typing import Any

from mlops_runtime.contracts import content_hash
from mlops_runtime.rollout.definition_hash import FIELD, definition_sha256, hashed_machines


def _definition(digest: str, comment: str = "Deploy") -> dict[str, Any]:
    """Return a definition as CDK renders it with tokens."""
    start = f'{{"Comment":"{comment}","States":{{"Record":{{"Arguments":{{"FunctionName":"'
    return {
        "Fn::Join": [
            "",
            [start, {"Fn::GetAtt": ["F", "Arn"]}, f'","Payload":{{"now":"x","{FIELD}":"{digest}"}}}}}}}}}}'],
        ]
    }


def _template(definition: Any) -> dict[str, Any]:
    machine = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"DefinitionString": definition}}
    plain = {"Type": "AWS::StepFunctions::StateMachine", "Properties": {"DefinitionString": '{"StartAt":"A"}'}}
    return {"Resources": {"Deploy": machine, "Other": plain, "F": {"Type": "AWS::Lambda::Function"}}}


def test_a_definition_with_its_hash_has_the_hash_of_the_one_without() -> None:
    """The SHA-256 of the canonical JSON with that value empty."""
    digest = definition_sha256(_definition(""))
    assert digest == content_hash(_definition("")) == definition_sha256(_definition(digest))
    assert definition_sha256(_definition("f" * 64)) == digest


def test_every_other_change_is_another_hash() -> None:
    """Covers a word of text, a function, and an invalid value in place of the hash."""
    digest = definition_sha256(_definition(""))
    changed = copy.deepcopy(_definition(digest))
    changed["Fn::Join"][1][1]["Fn::GetAtt"][0] = "G"
    others = [changed, _definition(digest, "deploy"), _definition("f" * 63), json.dumps(_definition(digest))]
    assert len({digest, *map(definition_sha256, others)}) == 5


def test_machines_of_a_template_are_found_by_what_they_give() -> None:
    """Other machines have no hash; a machine changed afterwards has another hash than its stored one."""
    digest = definition_sha256(_definition(""))
    (machine,) = hashed_machines(_template(_definition(digest)))
    assert (machine.logical_id, machine.stated, machine.found) == ("Deploy", digest, digest)
    (changed,) = hashed_machines(_template(_definition(digest, "deploy")))
    assert changed.stated == digest != changed.found
    assert hashed_machines({}) == []
    assert hashed_machines({"Resources": {"Deploy": {"Type": "AWS::StepFunctions::StateMachine"}}}) == []
