"""Worker processes of a function: a broken worker or an updated function never ends a process that serves another call.

Lambda gives each concurrent call an environment of its own, and updates and deletes a function while calls run:
https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html. MiniStack ends all processes of a function when one
breaks, and when the function changes, so that other calls failed without a reason. Calls of WebSocket APIs lease no process and
may still end this way; no construct has such an API.
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

# removed from the pool, to be ended after their current call
_leaving: weakref.WeakSet[Any] = weakref.WeakSet()


def install() -> None:
    """Keep processes that serve a call until it is over."""
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
    """Remove all processes of a function from the pool, and end the idle ones."""
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
    """End the process of a broken call, which is in no pool any more."""

    def invoke_or_end(worker: Any, *arguments: Any, **named: Any) -> Any:
        try:
            return invoke(worker, *arguments, **named)
        except Exception:
            worker.kill()
            raise

    return invoke_or_end
