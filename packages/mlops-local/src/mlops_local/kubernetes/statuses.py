"""How Kubernetes says no: the ``Status`` object, with reason, details and code.

https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/status/
"""

from collections.abc import Sequence
from typing import Any

from mlops_local.kubernetes.kinds import Cause, Kind


# claim: api-server-answers-with-status
class StatusError(Exception):
    """A request that the cluster refuses.

    Args:
        code: HTTP status.
        reason: Kubernetes' reason, ``NotFound``.
        message: For people.
        details: What it is about. Default: nothing more.
    """

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code, self.reason, self.message, self.details = code, reason, message, details

    def body(self) -> dict[str, Any]:
        """Return the ``Status``."""
        shown: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        return shown if self.details is None else {**shown, "details": self.details}


def not_found(kind: Kind, name: str) -> StatusError:
    """Return what a cluster says of an object that is not there."""
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    return StatusError(404, "NotFound", f'{kind.resource} "{name}" not found', details)


def unauthorized() -> StatusError:
    """Return what a cluster says to a caller whom it does not know."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(kind: Kind, name: str, message: str) -> StatusError:
    """Return what a cluster says to a caller who may not.

    Args:
        kind: Of the object.
        name: Of the object; empty for a list.
        message: Who may not do what.
    """
    named = f'{kind.resource} "{name}"' if name else kind.resource
    return StatusError(
        403, "Forbidden", f"{named} is forbidden: {message}", {"name": name, "group": kind.group, "kind": kind.plural}
    )


def bad_request(message: str) -> StatusError:
    """Return what a cluster says of a request that it does not understand."""
    return StatusError(400, "BadRequest", message)


def invalid(kind: Kind, name: str, causes: Sequence[Cause]) -> StatusError:
    """Return what a cluster says of an object that breaks its kind's rules; unknown fields make it a bad request.

    Args:
        kind: Of the object.
        name: Of the object.
        causes: What is wrong.
    """
    shown = "; ".join(f"{cause.field}: {cause.message}" for cause in causes)
    if any(cause.is_unknown for cause in causes):
        return bad_request(
            f"failed to create typed patch object ({name}; {kind.api_version}, Kind={kind.kind}): {shown}"
        )
    rows = [{"reason": "FieldValueInvalid", "message": cause.message, "field": cause.field} for cause in causes]
    details = {"name": name, "group": kind.group, "kind": kind.kind, "causes": rows}
    dotted = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    return StatusError(422, "Invalid", f'{dotted} "{name}" is invalid: {shown}', details)


def precondition(kind: Kind, name: str, wanted: str, found: str) -> StatusError:
    """Return what a cluster says of an object that is another one than was meant.

    Args:
        kind: Of the object.
        name: Of the object.
        wanted: The uid that was meant.
        found: The uid that it has.
    """
    why = f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
    details = {"name": name, "group": kind.group, "kind": kind.plural}
    said = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return StatusError(409, "Conflict", said, details)


def conflict(kind: Kind, name: str, fields: Sequence[tuple[str, str]]) -> StatusError:
    """Return what a cluster says to an applier whose fields others own, in Kubernetes' own words.

    https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts and the message of
    ``k8s.io/apimachinery/pkg/util/managedfields/internal/conflict.go``

    Args:
        kind: Of the object.
        name: Of the object.
        fields: Owner, as it is printed, and path.
    """
    causes = [
        {"reason": "FieldManagerConflict", "message": f"conflict with {owner}", "field": path} for owner, path in fields
    ]
    if len(fields) == 1:
        said = f"Apply failed with 1 conflict: conflict with {fields[0][0]}: {fields[0][1]}"
    else:
        lines = [
            "\n".join([f"conflicts with {owner}:", *(f"- {path}" for other, path in fields if other == owner)])
            for owner in sorted({owner for owner, _ in fields})
        ]
        said = f"Apply failed with {len(fields)} conflicts: " + "\n".join(lines)
    return StatusError(
        409, "Conflict", said, {"name": name, "group": kind.group, "kind": kind.plural, "causes": causes}
    )
