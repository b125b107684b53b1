"""Keys of sessions that services make by themselves."""

import subprocess
import sys
from collections.abc import Callable

from mlops_local.cloud import Cloud
from mlops_local.session_keys import session_keys

_SHOW = "from mlops_local.session_keys import session_keys; print(*session_keys('purpose'))"
_HANDLER = """
import os

def handler(event, context):
    return [os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
"""


def test_the_same_for_a_purpose_and_unlike_others() -> None:
    """In one run: a session that is made again keeps its keys."""
    assert session_keys("purpose") == session_keys("purpose")
    assert len({*session_keys("purpose"), *session_keys("other")}) == 6
    assert session_keys("purpose")[0].startswith("ASIA")
    assert len(session_keys("purpose")[0]) == 20


def test_another_run_has_other_keys() -> None:
    """Nothing that they are made of can be guessed."""
    runs = {
        subprocess.run([sys.executable, "-c", _SHOW], capture_output=True, text=True, check=True).stdout for _ in "ab"
    }

    assert len(runs) == 2


def test_keys_of_a_function_are_not_made_of_names(
    own_cloud: Callable[..., Cloud], make_function: Callable[..., str]
) -> None:
    """Two clouds give the same function of the same role different keys."""
    seen = set()
    for _ in "ab":
        cloud = own_cloud()
        make_function(cloud, "shows", {"handler.py": _HANDLER})
        seen |= set(
            cloud.client("lambda").invoke(FunctionName="shows")["Payload"].read().decode().strip("[]").split(", ")
        )
        cloud.down()

    assert len(seen) == 6
