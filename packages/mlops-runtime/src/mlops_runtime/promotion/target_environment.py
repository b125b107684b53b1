"""Settings of functions about their registry's neighbours, read from environment variables that constructs set."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from mlops_runtime.contracts import from_json
from mlops_runtime.contracts.model_manifest import Trust
from mlops_runtime.promotion.environment_link import LinkedEnvironment, NamedEnvironment
from mlops_runtime.promotion.release_plan import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionSettings:
    """Variable ``PROMOTION``: the source, the allowed effects of loading a model, and the longest wait of a release.

    ``shares_images`` states whether images may be in the source's registry; absent if not.

    Example:
        >>> source = '{"account": "111111111111", "region": "eu-west-1"}'
        >>> text = f'{{"group": "demand-forecast", "source": {source}, "source_name": "build", "max_wait_seconds": 60}}'
        >>> from_json(PromotionSettings, text).source.region
        'eu-west-1'
    """

    group: str
    source: LinkedEnvironment
    source_name: str
    trust: tuple[Trust, ...] | None = None
    max_wait_seconds: int
    shares_images: bool | None = None


def max_wait_of(environ: Mapping[str, str]) -> timedelta:
    """Return the longest wait of a release, from ``PROMOTION``."""
    return timedelta(seconds=from_json(PromotionSettings, environ["PROMOTION"]).max_wait_seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedSettings:
    """Variable ``SERVED_MODELS``: targets whose reports are stored, and whether the registry reports to a source.

    ``champion`` names the environment whose model candidates are compared with; by default the farthest. ``pipelines`` run the
    retrainings that targets request; ``alarms`` request retrainings from the source.
    """

    group: str
    targets: tuple[NamedEnvironment, ...] = ()
    has_source: bool = False
    champion: str | None = None
    pipelines: tuple[str, ...] = ()
    alarms: tuple[str, ...] = ()


def target_of(environ: Mapping[str, str]) -> Target:
    """Return the target environment of a function.

    Args:
        environ: With ``ACCOUNT``, ``AWS_REGION``, ``ARTIFACTS_BUCKET``, ``PROMOTION``, ``SIGNING_KEY`` and ``UNIT``.
    """
    settings = from_json(PromotionSettings, environ["PROMOTION"])
    return Target(
        unit=environ["UNIT"],
        group=settings.group,
        here=LinkedEnvironment(account=environ["ACCOUNT"], region=environ["AWS_REGION"]),
        source=settings.source,
        source_name=settings.source_name,
        bucket=environ["ARTIFACTS_BUCKET"],
        signing_key=environ["SIGNING_KEY"],
        trust=settings.trust,
        shares_images=bool(settings.shares_images),
    )
