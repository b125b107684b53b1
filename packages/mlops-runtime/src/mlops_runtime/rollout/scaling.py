"""How the endpoint is to scale from now on, where that is not how it scales already."""

from collections.abc import Mapping
from typing import Any

from mlops_runtime.contracts.rollout import ServingSpec
from mlops_runtime.rollout.capacity import no_scaling, render_scaling
from mlops_runtime.rollout.plan import Facts, live_pointer


def planned_scaling(spec: ServingSpec, facts: Facts) -> Mapping[str, Any]:
    """Return how the endpoint is to scale from now on, where that is not how it scales already.

    SageMaker refuses to change the instance type of a registered variant; policies and schedules that are no longer wanted go with
    the registration.
    """
    live, before = live_pointer(facts.row), facts.live_spec
    if facts.serving is None:
        return render_scaling(spec) | {"deregister": [], "alarm_names": []}
    is_known = live is not None and live.config == facts.serving.config and before is not None
    if is_known and before is not None and _scales(before) == _scales(spec):
        return no_scaling()
    if is_known and before is not None and before.scaling is None:
        return render_scaling(spec) | {"deregister": [], "alarm_names": []}
    names = () if facts.serving.version is None else facts.serving.version.variant_names
    return render_scaling(spec, live_variants=names)


def _scales(spec: ServingSpec) -> object:
    if spec.scaling is None:
        return None
    variants = [(v.name, v.instance_type) for v in spec.variants or ()]
    return spec.scaling, [(spec.variant, spec.instance_type), *variants]
