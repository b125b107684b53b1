"""Write the pipeline of generated repositories as a GitLab CI/CD component, ``templates/unit.yml``.

Run ``python -m tools.gitlab_component``; a test compares the component with the template.

See: https://docs.gitlab.com/ci/components/#directory-structure
"""

from pathlib import Path

from jinja2 import Environment, StrictUndefined, UndefinedError

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "packages/mlops-cli/src/mlops_cli" / "templates" / "unit" / "project" / ".gitlab-ci.yml.jinja"
COMPONENT = ROOT / "templates" / "unit.yml"
_HEAD = """\
# The pipeline that `mlops new` writes, as a component: docs/gitlab.md of mlops-constructs. It is a whole pipeline, with stages and
# workflow, for a repository that `mlops new` has made. tools/gitlab_component.py writes it from that template.
"""
_INPUT = "$[[ inputs.endpoint ]]"
_ENDPOINT = """\
    endpoint:
      description: Name of the unit's endpoint, such as demand-forecast.
      regex: ^[a-z][a-z0-9-]{0,30}[a-z0-9]$
"""


def main() -> None:
    """Write the component."""
    COMPONENT.parent.mkdir(exist_ok=True)
    COMPONENT.write_text(component(), "utf-8")


def component() -> str:
    """Return the component's text: the template with two environments, and with the endpoint as an input.

    GitLab's inputs can be arrays, but jobs cannot be repeated over them, so only ``mlops new`` renders a list of environments.

    Raises:
        ValueError: If the template has another variable, or its header is not as expected.
    """
    # YAML needs no HTML escaping
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # noqa: S701
    template = environment.from_string(TEMPLATE.read_text("utf-8"))
    try:
        rendered = template.render(endpoint=_INPUT, environments=[])
    except UndefinedError as error:
        message = f"{TEMPLATE.name} has a variable besides endpoint ({error}); make it an input of the component"
        raise ValueError(message) from error
    _, _, text = rendered.partition("\n")
    for each in ("  inputs:\n", _INPUT):
        if text.count(each) != 1:
            raise ValueError(f"{TEMPLATE.name} must hold {each!r} once, got {text.count(each)}")
    text = text.replace("  inputs:\n", f"  inputs:\n{_ENDPOINT}")
    return f"{_HEAD}{text}"


if __name__ == "__main__":
    main()
