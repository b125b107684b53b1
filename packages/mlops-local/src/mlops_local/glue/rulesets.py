"""Rulesets of Glue Data Quality: rulesets of stacks can be read; no run evaluates them.

MiniStack has no ruleset operations, and CloudFormation only records them. GetDataQualityRuleset returns what Glue would:
https://docs.aws.amazon.com/glue/latest/webapi/API_GetDataQualityRuleset.html.
"""

import json
from collections.abc import Mapping
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response
from ministack.services import glue
from ministack.services.cloudformation import provisioners

from mlops_local import clock
from mlops_local.saved_state import kept_stores

TYPE = "AWS::Glue::DataQualityRuleset"
_ACTION = "AWSGlue.GetDataQualityRuleset"

# responses of GetDataQualityRuleset, by name
_rulesets: Any = kept_stores.keep(__name__, "_rulesets", AccountRegionScopedDict())


def install() -> None:
    """Store rulesets of stacks, and serve GetDataQualityRuleset."""
    _keep_declared(provisioners._RESOURCE_HANDLERS[TYPE])
    handle = glue._handle_request_sync

    def handle_or_answer(method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Any) -> Any:
        if headers.get("x-amz-target") == _ACTION:
            return _answer(json.loads(body)["Name"])
        return handle(method, path, headers, body, query_params)

    glue._handle_request_sync = handle_or_answer


def _keep_declared(handler: dict[str, Any]) -> None:
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def created(logical_id: str, properties: Mapping[str, Any], stack: str) -> Any:
        made = create(logical_id, properties, stack)
        _keep(made[0], properties)
        return made

    def updated(physical_id: str, old: Mapping[str, Any], new: Mapping[str, Any], *rest: Any) -> Any:
        made = update(physical_id, old, new, *rest)
        _keep(made[0], new)
        return made

    def deleted(physical_id: str, properties: Mapping[str, Any]) -> None:
        delete(physical_id, properties)
        _rulesets.pop(physical_id, None)

    handler.update(create=created, update=updated, delete=deleted)


def _keep(name: str, properties: Mapping[str, Any]) -> None:
    shown = {member: properties[member] for member in ("Description", "Ruleset", "TargetTable") if member in properties}
    begun = _rulesets.get(name, {}).get("CreatedOn", clock.now())
    _rulesets[name] = {"Name": name, "CreatedOn": begun, "LastModifiedOn": clock.now(), **shown}


def _answer(name: str) -> Any:
    # claim: glue-reads-a-ruleset
    if name not in _rulesets:
        return error_response_json("EntityNotFoundException", f"Data quality ruleset {name} is not found.", 400)
    return json_response(_rulesets[name])
