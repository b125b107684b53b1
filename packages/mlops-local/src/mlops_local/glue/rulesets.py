"""Rulesets of Glue Data Quality: rulesets of stacks can be read; no run evaluates them.

MiniStack has no ruleset operations, and CloudFormation only records them. GetDataQualityRuleset returns what Glue would:
https://docs.aws.amazon.com/glue/latest/webapi/API_GetDataQualityRuleset.html.
"""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, error_response_json, json_response
from ministack.services import glue
from ministack.services.cloudformation import provisioners

from mlops_local import clock
from mlops_local.saved_state import kept_stores
from mlops_local.stacks import handler_steps

TYPE = "AWS::Glue::DataQualityRuleset"
_ACTION = "AWSGlue.GetDataQualityRuleset"

# responses of GetDataQualityRuleset, by name
_rulesets: Any = kept_stores.keep(__name__, "_rulesets", AccountRegionScopedDict())


def install() -> None:
    """Store rulesets of stacks, and serve GetDataQualityRuleset."""
    handler_steps.complete(TYPE, _keep)
    handler = provisioners._RESOURCE_HANDLERS[TYPE]
    handler["delete"] = partial(_deleted, handler["delete"])
    handle = glue._handle_request_sync

    def handle_or_answer(method: str, path: str, headers: Mapping[str, str], body: bytes, query_params: Any) -> Any:
        if headers.get("x-amz-target") == _ACTION:
            return _answer(json.loads(body)["Name"])
        return handle(method, path, headers, body, query_params)

    glue._handle_request_sync = handle_or_answer


def _deleted(delete: Any, physical_id: str, properties: Mapping[str, Any]) -> None:
    delete(physical_id, properties)
    _rulesets.pop(physical_id, None)


def _keep(name: str, _old: Mapping[str, Any], properties: Mapping[str, Any]) -> None:
    shown = {member: properties[member] for member in ("Description", "Ruleset", "TargetTable") if member in properties}
    begun = _rulesets.get(name, {}).get("CreatedOn", clock.now())
    _rulesets[name] = {"Name": name, "CreatedOn": begun, "LastModifiedOn": clock.now(), **shown}


def _answer(name: str) -> Any:
    # claim: glue-reads-a-ruleset
    if name not in _rulesets:
        return error_response_json("EntityNotFoundException", f"Data quality ruleset {name} is not found.", 400)
    return json_response(_rulesets[name])
