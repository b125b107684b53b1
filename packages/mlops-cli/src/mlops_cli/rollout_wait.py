"""Wait for a rollout: print its progress when it changes, and pause between polls."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import typer
from botocore.exceptions import ClientError

from mlops_cli.answers import visible
from mlops_cli.aws_account import Account, UserError
from mlops_runtime.refused_calls import DENIED
from mlops_runtime.rollout.rollout_progress import RolloutProgress, RolloutReader
from mlops_runtime.rollout.rollout_words import answers, doing, jump, needs, remaining

_LOOK_SECONDS = 1.0
_EACH_MINUTE = 5  # minutes with a line each; later every fifth minute has one


class InterruptedWaitError(UserError):
    """The user interrupted the wait for a rollout, which continues; the message has the command to resume."""

    code = 130


def _echo(text: str) -> None:
    typer.echo(text, err=True)


@dataclass(slots=True, kw_only=True)
class RolloutWait:
    """Callable that reports changes of an execution and then waits a second."""

    aws: Account  # account of the rollout
    endpoint: str
    echo: Callable[[str], None] = _echo  # called with each line. Default: print it to standard error
    sleep: Callable[[float], None] = time.sleep  # called with the seconds to wait. Default: `time.sleep`
    _reader: RolloutReader | None = field(default=None, init=False)
    _shown: dict[str, object] = field(default_factory=dict, init=False)
    _unread: bool = field(default=False, init=False)

    def __call__(self, execution: str | None) -> None:
        """Report changes of an execution, if one is running, and wait."""
        if execution is not None and not self._unread:
            self._look(execution)
        self.sleep(_LOOK_SECONDS)

    def _look(self, execution: str) -> None:
        if self._reader is None:
            self._reader = RolloutReader(stepfunctions=self.aws.client("stepfunctions"))
        try:
            _, now = self.aws.caller()
            progress = self._reader.read(execution, now)
        except ClientError as error:
            if error.response["Error"]["Code"] not in DENIED:
                raise
            self._unread = True
            self.echo("its steps are not shown: the caller has no read access to the execution's history")
            return
        for line in self._news(progress, now):
            self.echo(visible(line))

    def _news(self, progress: RolloutProgress, now: datetime) -> list[str]:
        at, lines = f"{now:%H:%M}", []
        if self._is_new("phase", (progress.execution, progress.phase, progress.step, bool(progress.steps))):
            does = f"step {doing(progress)}" if progress.step else doing(progress)
            left = remaining(progress, now)
            lines.append(f"{at} {does}; {left}" if left and self._is_new("left", left) else f"{at} {does}")
            if progress.bake_reason and self._is_new("bakes", progress.bake_reason):
                lines.append(f"      {progress.bake_reason}")
            missing = needs(progress, self.endpoint)
            if missing and self._is_new("needs", (missing, progress.step)):
                lines.append(f"      needs {missing}")
            if progress.step and self.aws.has_movable_clock():
                first = "once calls are sent: " if progress.missing else ""
                lines.append(
                    f"      it waits by the embedded cloud's clock; {first}mlops local clock --jump {jump(progress, now)}"
                )
        if sentence := answers(progress):
            minutes = 0 if progress.verdict is None else progress.verdict.minutes
            often = minutes if minutes <= _EACH_MINUTE else minutes // _EACH_MINUTE * _EACH_MINUTE
            action = None if progress.verdict is None else progress.verdict.action
            if self._is_new("answers", (progress.execution, progress.step, often, action)):
                lines.append(f"{at} {sentence}")
        return lines

    def _is_new(self, name: str, value: object) -> bool:
        is_new = self._shown.get(name) != value
        self._shown[name] = value
        return is_new
