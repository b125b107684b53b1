"""Checks of an erasure's arguments, before anything is read or written."""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import timedelta

from mlops_runtime.features.entity_search import ErasureError

_LONG = 6  # letters from which a string is searched for within words too


def check_arguments(
    entity: Mapping[str, object],
    *,
    reason: str,
    in_use: Collection[str],
    include_in_use: bool,
    wait: timedelta,
    ended: Collection[str],
) -> None:
    """Check the arguments of ``FeatureStoreClient.erase``; keys and ids of sets are checked later, against the store.

    Raises:
        ErasureError: If an argument has another type, or the reason names the entity; with every problem.
    """
    _refuse([*_entity_problems(entity, reason), *_in_use_problems(in_use, include_in_use), *_waits(wait, ended)])


def check_waits(wait: timedelta, ended: Collection[str]) -> None:
    """Check the arguments of ``FeatureStoreClient.resume_erasures``.

    Raises:
        ErasureError: If an argument has another type; with every problem.
    """
    _refuse(list(_waits(wait, ended)))


def named_in(reason: str, entity: Mapping[str, object]) -> list[str]:
    """Return the keys whose values a reason contains, in any case: as separate words, or anywhere if of six letters or more.

    Example:
        >>> named_in("ticket 4711, T-7, request by ann", {"store_id": 7, "customer": "Ann"})
        ['customer']
    """
    return [name for name, value in entity.items() if any(_is_mentioned(reason, text) for text in _texts(value))]


def _entity_problems(entity: object, reason: object) -> Iterator[str]:
    is_entity = isinstance(entity, Mapping) and all(isinstance(name, str) for name in entity)
    if not is_entity:
        yield f"entity must be values by name of key column, such as {{'store_id': '718'}}, got {entity!r}"
    if not isinstance(reason, str) or not reason.strip():
        yield f"reason must be a reason, such as a ticket's number, got {reason!r}"
    elif is_entity and isinstance(entity, Mapping) and (named := named_in(reason, entity)):
        yield f"reason contains the {', '.join(named)} to erase, and stays in the records; give a ticket's number instead"


def _in_use_problems(in_use: object, include_in_use: object) -> Iterator[str]:
    if not _is_texts(in_use):
        yield f"in_use must be a list of ids of training sets, got {in_use!r}; give [] if no model serves"
    if not isinstance(include_in_use, bool):
        yield f"include_in_use must be True or False, got {include_in_use!r}"


def _waits(wait: object, ended: object) -> Iterator[str]:
    if not isinstance(wait, timedelta) or wait < timedelta(0):
        yield f"wait must be a non-negative timedelta, such as timedelta(minutes=1), got {wait!r}"
    if not _is_texts(ended):
        yield f"ended must be a list of ids of builds, got {ended!r}; give () if none is known to have ended"


def _is_texts(value: object) -> bool:
    if not isinstance(value, Collection) or isinstance(value, str | bytes | Mapping):
        return False
    return all(isinstance(each, str) for each in value)


def _texts(value: object) -> set[str]:
    """Return the spellings of a value: Python's, and ISO 8601 for dates and times."""
    written = {str(value), value.isoformat()} if hasattr(value, "isoformat") else {str(value)}
    return {text.strip() for text in written} - {""}


def _is_mentioned(reason: str, text: str) -> bool:
    # as a separate word: 7 does not match "ticket 4711" or "T-7"
    if re.search(rf"(?<![\w-]){re.escape(text)}(?![\w-])", reason, re.IGNORECASE):
        return True
    return len(text) >= _LONG and not text.isdecimal() and text.casefold() in reason.casefold()


def _refuse(problems: list[str]) -> None:
    if problems:
        raise ErasureError("; ".join(problems))
