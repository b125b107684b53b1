"""Rulesets of Glue Data Quality in the embedded cloud."""

import json
from typing import Any

import pytest

from mlops_local.cloud import Cloud


def _template(name: str, rules: str) -> str:
    target = {"DatabaseName": "shop", "TableName": "stock_v1"}
    properties = {"Name": name, "Ruleset": rules, "TargetTable": target}
    return json.dumps({"Resources": {"Rules": {"Type": "AWS::Glue::DataQualityRuleset", "Properties": properties}}})


def test_a_ruleset_is_read_as_its_stack_declares_it(cloud: Cloud, unique: str) -> None:
    """It is created, changed in place, replaced after a rename, and deleted with its stack."""
    stacks, glue = cloud.client("cloudformation"), cloud.client("glue")

    def put(verb: str, name: str, rules: str) -> None:
        getattr(stacks, f"{verb}_stack")(StackName=unique, TemplateBody=_template(name, rules))
        stacks.get_waiter(f"stack_{verb}_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})

    def read(name: str) -> dict[str, Any]:
        found: dict[str, Any] = glue.get_data_quality_ruleset(Name=name)
        return found

    first, second = f"{unique}-first", f"{unique}-second"
    put("create", first, 'Rules = [ IsComplete "a" ]')
    assert read(first)["Ruleset"] == 'Rules = [ IsComplete "a" ]'
    assert read(first)["TargetTable"] == {"DatabaseName": "shop", "TableName": "stock_v1"}

    put("update", first, 'Rules = [ IsComplete "b" ]')
    assert read(first)["Ruleset"] == 'Rules = [ IsComplete "b" ]'

    put("update", second, 'Rules = [ IsComplete "b" ]')
    assert read(second)["Name"] == second
    with pytest.raises(glue.exceptions.EntityNotFoundException):
        read(first)

    stacks.delete_stack(StackName=unique)
    stacks.get_waiter("stack_delete_complete").wait(StackName=unique, WaiterConfig={"Delay": 1})
    with pytest.raises(glue.exceptions.EntityNotFoundException):
        read(second)
