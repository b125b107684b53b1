"""The pause before a rollout is read again; a long wait on the embedded cloud says once what moves a canary on."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import typer

from mlops_cli.aws_account import Account

_LOOK_SECONDS = 1.0
_SAID_AFTER = 15  # looks: a first model is there by then


def _say(text: str) -> None:
    typer.echo(text, err=True)


@dataclass(slots=True, kw_only=True)
class RolloutWait:
    """Waits a second each time it is called.

    Args:
        aws: Where the rollout runs.
        endpoint: Its endpoint.
        say: Gets the hint. Default: standard error gets it.
        sleep: How a second passes.
    """

    aws: Account
    endpoint: str
    say: Callable[[str], None] = _say
    sleep: Callable[[float], None] = time.sleep
    looks: int = field(default=0, init=False)

    def __call__(self) -> None:
        """Wait; at the fifteenth time say what a canary waits for."""
        self.looks += 1
        if self.looks == _SAID_AFTER and self.aws.has_movable_clock():
            self.say(
                f"a canary bakes by the embedded cloud's clock, and counts calls; from another terminal: mlops traffic replay "
                f"{self.endpoint} FILE --time COLUMN --now, then mlops local clock --jump 10m"
            )
        self.sleep(_LOOK_SECONDS)
