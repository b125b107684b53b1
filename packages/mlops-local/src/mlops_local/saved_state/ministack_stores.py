"""MiniStack's stores: stores by account are saved; other stores are listed here, saved or not.

MiniStack's own persistence (``PERSIST_STATE``) is not used: it writes one file per service and only at the end, so that a killed
cloud loses everything; it omits the bodies of S3 objects unless they are in files, and turns tuples into lists.
"""

import importlib
import sys
from collections.abc import Iterator
from typing import Any

from ministack.core.responses import AccountRegionScopedDict, AccountScopedDict
from ministack.services import lambda_svc

from mlops_local.saved_state.kept_stores import Kept, Left, refill

_SERVICES = "ministack.services."

# saved stores that are not by account
PLAIN = frozenset({
    "ec2._default_initialized_scopes",
    "eks._port_counter",
    "iam._aws_managed_policies",
    "eventbridge._rule_last_fired",
    "scheduler._schedule_last_fired",
    "apigateway_v1._quota_state",
    "cognito._pool_keys",
    "cognito._refresh_tokens",
    "cognito._revoked_tokens",
    "iot._retained",
})  # fmt: skip
# counters that continue
COUNTERS = frozenset({"dynamodb._stream_seq_counter", "firehose._dest_counter"})

_CACHE = "a cache"
_RUN = "state of the processes and threads of this run"
_CALLS = "calls and sign-ins under way"
LEFT: dict[str, str] = {
    "alb._oidc_pending": _CALLS,
    "apigateway._authorizer_cache": _CACHE,
    "apigateway._jwks_cache": _CACHE,
    "apigateway._oidc_config_cache": _CACHE,
    "apigateway._ws_connections": "open connections of WebSocket APIs",
    "apigateway_v1._authorizer_cache": _CACHE,
    "apigateway_v1._throttle_state": _CALLS,
    "appsync._cache_entries": _CACHE,
    "cloudformation.custom_resource._pending": "answers that operations of stacks wait for",
    "cloudformation.wait_conditions._handles": "signals that operations of stacks wait for",
    "cloudformation.wait_conditions._waiting": "signals that operations of stacks wait for",
    "cloudfront._vpc_origin_etags_issued": _CACHE,
    "cloudwatch_logs._live_tail_sessions": _CALLS,
    "codebuild._stopped_builds": _RUN,
    "cognito._auth_codes": _CALLS,
    "cognito._authorization_codes": _CALLS,
    "cognito._pending_new_password": _CALLS,
    "cognito._pending_user_auth": _CALLS,
    "cognito._totp_session_secrets": _CALLS,
    "documentdb._port_counter": _RUN,
    "ec2._last_cleanup": _RUN,
    "ecr._uploads": "uploads of image layers under way",
    "eks._rbac_reconcile_locks": _RUN,
    "eks._rbac_reconcilers": _RUN,
    "elasticache._pending_cluster_respawn": _RUN,
    "elasticache._pending_rg_respawn": _RUN,
    "elasticache._pending_serverless_respawn": _RUN,
    "elasticache._port_counter": _RUN,
    "eventbridge._oauth_tokens": _CACHE,
    "iot._connected_clients": _RUN,
    "iot._connectivity": _RUN,
    "iot._jobs_presign_sessions": _CALLS,
    "iot._mtls_loaded_anchors": _RUN,
    "iot._mtls_server_names": _RUN,
    "iot._mtls_sessions": _RUN,
    "iot._mtls_upgrades": _RUN,
    "iot._persistent_sessions": "sessions of MQTT clients",
    "iot._presence_versions": _RUN,
    "iot._rollout_tasks": _RUN,
    "iot._subscriptions": "sessions of MQTT clients",
    "iot._warned_sql_funcs": _RUN,
    "kinesis._subscriptions": _CALLS,
    "kinesisanalyticsv2_flink._clusters": _RUN,
    "kinesisanalyticsv2_flink._starts": _RUN,
    "lambda_svc._docker_extract_dirs": _RUN,
    "lambda_svc._esm_inflight": _RUN,
    "lambda_svc._inflight": _RUN,
    "lambda_svc._provided_code_dirs": _RUN,
    "lambda_svc._revision_locks": _RUN,
    "lambda_svc._warm_pool": _RUN,
    "opensearch._dashboards_port_counter": _RUN,
    "opensearch._port_counter": _RUN,
    "rds._mysql_global_instance_mutations": _RUN,
    "rds._mysql_global_writer_switch_owners": _RUN,
    "rds._port_counter": _RUN,
    "s3._olap_requests": _CALLS,
    "stepfunctions._activity_tasks": "tasks of activities that executions under way wait for",
    "stepfunctions._history_page_tokens": _CALLS,
    "stepfunctions._sfn_mock_config": _CACHE,
    "stepfunctions._task_tokens": "callbacks that executions under way wait for",
    "sts._sessions": "temporary credentials: assume the role again",
}  # fmt: skip


def found() -> Iterator[tuple[str, Any]]:
    """Yield the stores by account of the loaded services with their names, without duplicates."""
    seen: set[int] = set()
    for module_name, module in sorted(sys.modules.items()):
        if not module_name.startswith(_SERVICES):
            continue
        for name, value in sorted(vars(module).items()):
            if isinstance(value, AccountScopedDict | AccountRegionScopedDict) and id(value) not in seen:
                seen.add(id(value))
                yield f"{module_name.removeprefix(_SERVICES)}.{name}", value


def kept() -> dict[str, Kept]:
    """Return the saved stores of the loaded services."""
    stores = {name: _whole(store) for name, store in found() if name not in LEFT}
    for name in PLAIN | COUNTERS:
        module, attribute = _split(name)
        if module in sys.modules:
            stores[name] = _counter(name) if name in COUNTERS else _whole(getattr(sys.modules[module], attribute))
    return stores


def kept_as(name: str) -> Kept | None:
    """Return a store by its saved name, loading its service; ``None`` for an unknown store."""
    module, attribute = _split(name)
    try:
        value = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        return None
    if name in COUNTERS:
        return _counter(name)
    is_known = name in PLAIN or isinstance(value, AccountScopedDict | AccountRegionScopedDict)
    return _whole(value) if is_known and name not in LEFT else None


def left() -> dict[str, Left]:
    """Return the loaded services' stores that are not saved."""
    stores = {}
    for name, why in LEFT.items():
        module, attribute = _split(name)
        if module in sys.modules:
            stores[name] = Left(getattr(sys.modules[module], attribute), why)
    return stores


def restart() -> None:
    """Start the threads that process restored records."""
    if lambda_svc._esms.has_any():
        lambda_svc._ensure_poller()
    pipes = sys.modules.get(f"{_SERVICES}pipes")
    if pipes is not None and pipes._pipes.has_any():
        pipes._ensure_poller()


def _split(name: str) -> tuple[str, str]:
    module, _, attribute = name.rpartition(".")
    return _SERVICES + module, attribute


def _whole(store: Any) -> Kept:
    return Kept(lambda: store, lambda content: refill(store, content))


def _counter(name: str) -> Kept:
    module, attribute = _split(name)
    loaded = importlib.import_module(module)
    return Kept(lambda: getattr(loaded, attribute), lambda content: setattr(loaded, attribute, content))
