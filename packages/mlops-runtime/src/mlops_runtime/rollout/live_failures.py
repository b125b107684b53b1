"""Whether the live model provably fails: then a successor is not compared with how fast it answers."""

import math

from mlops_runtime.rollout.live_history import Counts

_BROKEN_SHARE = 0.1
_LEAST_FAILURES = 20
# standard deviations, one sided: 0.1 %
_SURE = 3.1


def is_broken(answers: Counts) -> bool:
    """Return whether more than a tenth of a model's answers fail, and that is not chance.

    An answer that fails at once is a quick one: beside a model that fails, one that works seems slow.

    Args:
        answers: Of the live model, before and beside a rollout.

    Example:
        >>> is_broken(Counts(calls=1000, failed=200)), is_broken(Counts(calls=10, failed=5))
        (True, False)
    """
    if answers.failed < _LEAST_FAILURES:
        return False
    share = answers.share
    return share - _SURE * math.sqrt(share * (1 - share) / answers.calls) > _BROKEN_SHARE
