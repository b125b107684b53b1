"""Deployments: a stage serves its API as it was when the deployment was created, without later changes.

The copy is stored in MiniStack's stores under its own id, so that it is routed, validated and saved like an API.
"""

import copy
import json
from collections.abc import Mapping
from typing import Any

from ministack.core.responses import request_scope
from ministack.services import apigateway_v1 as v1

Record = dict[str, Any]
_STORES = (v1._resources, v1._models, v1._request_validators)


def install() -> None:
    """Copy an API with each deployment, and let IAM find methods in the copy."""
    create, delete, delete_api = v1._create_deployment, v1._delete_deployment, v1._delete_rest_api

    # claim: gateway-deploys-methods-with-integrations
    def create_deployment(api_id: str, data: Mapping[str, Any]) -> Any:
        problem = _problem(api_id)
        if problem:
            return v1._v1_error("BadRequestException", problem, 400)
        answer = create(api_id, data)
        if answer[0] == 201:
            for store in _STORES:
                store[_name(api_id, json.loads(answer[2])["id"])] = copy.deepcopy(store.get(api_id, {}))
        return answer

    def delete_deployment(api_id: str, deployment_id: str) -> Any:
        _forget(_name(api_id, deployment_id))
        return delete(api_id, deployment_id)

    def delete_rest_api(api_id: str) -> Any:
        for deployment_id in list(v1._deployments_v1.get(api_id, {})):
            _forget(_name(api_id, deployment_id))
        return delete_api(api_id)

    v1._create_deployment, v1._delete_deployment, v1._delete_rest_api = (
        create_deployment,
        delete_deployment,
        delete_rest_api,
    )
    v1.method_authorization_type = authorization_type


def served_id(api_id: str, stage: Mapping[str, Any]) -> str:
    """Return the id of a stage's deployed copy in MiniStack's stores."""
    # claim: gateway-serves-what-was-deployed
    return _name(api_id, stage.get("deploymentId") or "")


def route(served: str, method: str, path: str) -> tuple[Record, Record, dict[str, str]] | None:
    """Find the resource and method of a request to a served API (:func:`served_id`), and the values of the path's parameters."""
    segments = [part for part in path.strip("/").split("/") if part]
    for resource, parameters in (
        v1._match_resource_tree(served, segments),
        v1._match_greedy_fallback(served, segments, method),
    ):
        methods = (resource or {}).get("resourceMethods", {})
        found = methods.get(method) or methods.get("ANY")
        if found:
            return resource, found, parameters or {}
    return None


def authorization_type(api_id: str, stage_name: str, method: str, path: str) -> str | None:
    """Return the authorization type of the method that serves a request; ``None`` without such a method."""
    scope = v1.find_api_scope(api_id)
    if scope is None:
        return None
    with request_scope(*scope):
        stage = v1._stages_v1.get(api_id, {}).get(stage_name)
        found = route(served_id(api_id, stage), method, path) if stage else None
    return (found[1].get("authorizationType") or "NONE").upper() if found else None


def _problem(api_id: str) -> str | None:
    """Return AWS's reason to reject a deployment of an API, or ``None``."""
    methods = [
        method for resource in v1._resources.get(api_id, {}).values() for method in resource["resourceMethods"].values()
    ]
    if not methods:
        return "The REST API doesn't contain any methods"
    return None if all(method.get("methodIntegration") for method in methods) else "No integration defined for method"


def _name(api_id: str, deployment_id: str) -> str:
    return f"{api_id}@{deployment_id}"


def _forget(name: str) -> None:
    for store in _STORES:
        store.pop(name, None)
