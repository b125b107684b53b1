"""Branding of managed login: required for an app client's sign-in page. Its appearance is recorded without effect."""

import json
import time
from collections.abc import Mapping
from typing import Any

from ministack.core.responses import error_response_json, json_response, new_uuid
from ministack.services import cognito
from ministack.services.cloudformation import provisioners

TYPE = "AWS::Cognito::ManagedLoginBranding"
_FIELD, _ID = "_managed_login_branding", "ManagedLoginBrandingId"
_GIVEN = ("UseCognitoProvidedValues", "Settings", "Assets")


class BrandingError(ValueError):
    """Cognito rejects a branding of a template."""


def install() -> None:
    """Support brandings in templates and API calls."""
    provisioners._RESOURCE_HANDLERS[TYPE] = {"create": _create, "update": _update, "delete": _delete}
    cognito._dispatch_idp = _dispatching(cognito._dispatch_idp)


def is_branded(client: Mapping[str, Any]) -> bool:
    """Return whether an app client has a branding."""
    return _FIELD in client


def _dispatching(dispatch: Any) -> Any:
    actions = {"CreateManagedLoginBranding": _made, "DescribeManagedLoginBrandingByClient": _described}

    async def dispatched(action: str, data: dict[str, Any]) -> Any:
        return actions[action](data) if action in actions else await dispatch(action, data)

    return dispatched


def _client(data: Mapping[str, Any]) -> dict[str, Any] | None:
    pool_id, _, client = cognito._find_pool_by_client_id(data.get("ClientId", ""))
    return client if pool_id == data.get("UserPoolId") else None


# claim: cognito-brandings-are-of-one-client
def _made(data: Mapping[str, Any]) -> Any:
    client = _client(data)
    if client is None:
        return error_response_json("ResourceNotFoundException", f"Client {data.get('ClientId')} not found.", 400)
    if is_branded(client):
        text = f"Client {data['ClientId']} has a managed login branding."
        return error_response_json("ManagedLoginBrandingExistsException", text, 400)
    if bool(data.get("UseCognitoProvidedValues")) is bool(data.get("Settings") or data.get("Assets")):
        text = "Either UseCognitoProvidedValues or Settings and Assets must be given."
        return error_response_json("InvalidParameterException", text, 400)
    now = time.time()
    client[_FIELD] = {
        _ID: new_uuid(), "UserPoolId": data["UserPoolId"], "CreationDate": now, "LastModifiedDate": now,
        **{name: data[name] for name in _GIVEN if name in data},
    }  # fmt: skip
    return json_response({"ManagedLoginBranding": client[_FIELD]})


# claim: cognito-brandings-are-of-one-client
def _described(data: Mapping[str, Any]) -> Any:
    client = _client(data) or {}
    if not is_branded(client):
        return error_response_json("ResourceNotFoundException", "There is no managed login branding.", 400)
    return json_response({"ManagedLoginBranding": client[_FIELD]})


# claim: cognito-brandings-are-of-one-client
def _create(_logical_id: str, given: dict[str, Any], _stack: str) -> tuple[str, dict[str, Any]]:
    status, _, body = _made(given)
    found = json.loads(body)
    if status != 200:
        raise BrandingError(f"{TYPE}: {found['message']}")
    made = found["ManagedLoginBranding"][_ID]
    return f"{given['UserPoolId']}|{made}", {_ID: made}


def _update(physical_id: str, old: Mapping[str, Any], new: dict[str, Any], stack: str) -> tuple[str, dict[str, Any]]:
    if any(old.get(name) != new.get(name) for name in ("UserPoolId", "ClientId")):
        return _create(physical_id, new, stack)
    client = _client(new) or {}
    client[_FIELD] |= {"LastModifiedDate": time.time(), **{name: new[name] for name in _GIVEN if name in new}}
    return physical_id, {_ID: client[_FIELD][_ID]}


def _delete(_physical_id: str, given: Mapping[str, Any]) -> None:
    (_client(given) or {}).pop(_FIELD, None)
