"""Write the pipeline of generated repositories as a GitLab CI/CD component, ``templates/unit.yml``.

Run ``python -m tools.gitlab_component``; a test holds the component to the template.

See: https://docs.gitlab.com/ci/components/#directory-structure
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "packages/mlops-cli/src/mlops_cli" / "templates" / "unit" / "project" / ".gitlab-ci.yml.jinja"
COMPONENT = ROOT / "templates" / "unit.yml"
_HEAD = """\
# The pipeline that `mlops new` writes, as a component: docs/gitlab.md of mlops-constructs. It is a whole pipeline, with stages and
# workflow, for a repository that `mlops new` has made. tools/gitlab_component.py writes it from that template.
"""
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
    """Return the component's text: the template with the endpoint as an input.

    Raises:
        ValueError: If the template has another variable, or its header is not as expected.
    """
    _, _, text = TEMPLATE.read_text("utf-8").partition("\n")
    for old, new in (("  inputs:\n", f"  inputs:\n{_ENDPOINT}"), ("{{ endpoint }}", "$[[ inputs.endpoint ]]")):
        if text.count(old) != 1:
            raise ValueError(f"{TEMPLATE.name} must hold {old!r} once, got {text.count(old)}")
        text = text.replace(old, new)
    if "{{" in text or "{%" in text:
        raise ValueError(f"{TEMPLATE.name} has a variable besides endpoint; make it an input of the component")
    return f"{_HEAD}{text}"


if __name__ == "__main__":
    main()
