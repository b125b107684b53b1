"""Temporary passwords of invited users, generated to satisfy the pool's policy; MiniStack's always have twelve characters."""

import secrets
import string
from typing import Any

from ministack.services import cognito

from mlops_local import compat

compat.expect(
    "ministack.services.cognito",
    _admin_create_user="(data)",
    _generate_temp_password="()",  # noqa: S106
    _resolve_pool="(pool_id)",
)

_FIELD = "TemporaryPassword"


def install() -> None:
    """Generate the password if an administrator creates a user without one."""
    cognito._admin_create_user = _conforming(cognito._admin_create_user)


def _conforming(create: Any) -> Any:
    def created(data: dict[str, Any]) -> Any:
        pool, _ = cognito._resolve_pool(data.get("UserPoolId"))
        if pool is None or data.get(_FIELD):
            return create(data)
        # claim: cognito-makes-temporary-passwords
        policy = (pool.get("Policies") or {}).get("PasswordPolicy") or {}
        made = cognito._generate_temp_password()  # contains each kind of character
        made += "".join(
            secrets.choice(string.ascii_letters) for _ in range(int(policy.get("MinimumLength", 8)) - len(made))
        )
        return create({**data, _FIELD: made})

    return created
