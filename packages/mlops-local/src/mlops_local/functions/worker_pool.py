"""Processes of a function: one that breaks, or a function that changes, ends none that serves a call.

Lambda gives each of the calls that run at once an environment of its own, and updates and deletes a function while calls run:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html. MiniStack ends all processes of a function when one of
them breaks, and when the function changes: calls of others then failed without a reason. Calls of WebSocket APIs lease no process
and may still end so; no construct of ours has such an API.
"""

import weakref
from collections.abc import Callable
from typing import Any

from ministack.core import lambda_runtime
from ministack.services import lambda_svc

from mlops_local import compat

_INVALIDATE = "(func_name, qualifier=None, account=None, region=None)"
_RELEASE = "(worker)"
compat.expect(
    "ministack.core.lambda_runtime",
    ProvidedWorker=type,
    Worker=type,
    _lock=object,
    _workers=dict,
    kill_workers="(workers)",
    invalidate_worker=_INVALIDATE,
    release_worker=_RELEASE,
)
compat.expect("ministack.services.lambda_svc", invalidate_worker=_INVALIDATE, release_worker=_RELEASE)

# out of the pool, and ended with the call that they serve
_leaving: weakref.WeakSet[Any] = weakref.WeakSet()


def install() -> None:
    """Leave processes that serve a call until it is over."""
    # claim: a-call-keeps-its-environment
    # claim: a-deleted-function-answers-its-calls
    release = lambda_runtime.release_worker

    def release_or_end(worker: Any) -> None:
        release(worker)
        if worker in _leaving:
            worker.kill()

    lambda_runtime.invalidate_worker = lambda_svc.invalidate_worker = _invalidate_idle
    lambda_runtime.release_worker = lambda_svc.release_worker = release_or_end
    for kind in (lambda_runtime.Worker, lambda_runtime.ProvidedWorker):
        kind.invoke = _ending(kind.invoke)


def _invalidate_idle(
    func_name: str, qualifier: str | None = None, account: str | None = None, region: str | None = None
) -> None:
    """Take all processes out of the pool at once, and end those that serve no call."""
    wanted = (account, region, func_name, qualifier)
    with lambda_runtime._lock:
        keys = [
            key
            for key in lambda_runtime._workers
            if all(want in (None, got) for want, got in zip(wanted, key.split(":"), strict=True))
        ]
        found = [worker for key in keys for worker in lambda_runtime._workers.pop(key)]
        _leaving.update(worker for worker in found if worker.in_use)
        idle = [worker for worker in found if not worker.in_use]
    lambda_runtime.kill_workers(idle)


def _ending(invoke: Callable[..., Any]) -> Callable[..., Any]:
    """End the process of a call that broke, which no pool has any more."""

    def invoke_or_end(worker: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return invoke(worker, *arguments, **named)
        except Exception:
            worker.kill()
            raise

    return invoke_or_end
