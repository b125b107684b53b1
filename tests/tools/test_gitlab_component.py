"""The component equals the template's pipeline, and a repository that includes it gets the same jobs."""

import json
import re
from pathlib import Path

import pytest
import yaml
from tests.cli.pipeline_run import INPUTS, commit, make_repository, needs_gitlab, rendered, run_jobs

from tools import gitlab_component

CALLER = """\
spec:
  inputs:
    allow:
      default: ""
---
include:
  - component: $CI_SERVER_FQDN/$CI_PROJECT_PATH/unit@$CI_COMMIT_SHA
    inputs:
      endpoint: demand-forecast
      gitlab_scans: false
      allow: $[[ inputs.allow ]]
"""


def test_the_component_is_the_templates_pipeline() -> None:
    """``python -m tools.gitlab_component`` changes nothing."""
    assert gitlab_component.COMPONENT.read_text() == gitlab_component.component()


def test_every_input_is_described_and_only_the_endpoint_is_required() -> None:
    """GitLab shows the descriptions on the component's page."""
    header, _ = yaml.load_all(gitlab_component.component().replace("!reference", ""), Loader=yaml.SafeLoader)

    inputs = header["spec"]["inputs"]
    assert [name for name, given in inputs.items() if "default" not in given] == ["endpoint"]
    assert all(given["description"].endswith((".", "/")) for given in inputs.values())
    assert re.fullmatch(inputs["endpoint"]["regex"], "demand-forecast")


@pytest.mark.parametrize("change", ["{{ other }}", "{{ endpoint }}"])
def test_a_template_that_is_no_component_is_refused(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable that the component would not set."""
    template = tmp_path / "template"
    template.write_text(f"{gitlab_component.TEMPLATE.read_text()}\n# {change}\n")
    monkeypatch.setattr(gitlab_component, "TEMPLATE", template)

    with pytest.raises(ValueError, match=r"must hold|has a variable besides endpoint"):
        gitlab_component.component()


class TestIncluded:
    """gitlab-ci-local reads it from the repository itself, as GitLab does at the commit."""

    pytestmark = needs_gitlab

    @pytest.fixture
    def project(self, tmp_path: Path) -> Path:
        """A generated repository with the component's pipeline."""
        folder = make_repository(tmp_path / "project", rendered(tmp_path / "rendered"))
        (folder / "templates").mkdir()
        (folder / "templates" / "unit.yml").write_text(gitlab_component.component())
        commit(folder)
        return folder

    def test_the_jobs_are_the_same(self, project: Path) -> None:
        """Scripts, rules and needs, including the input."""
        shown = []
        for is_included in (False, True):
            if is_included:
                (project / ".gitlab-ci.yml").write_text(CALLER)
                commit(project)
            done = run_jobs(project, options=["--preview"], inputs=["allow=Prices", *([] if is_included else INPUTS)])
            assert done.returncode == 0, done.stdout
            shown.append(yaml.safe_load(done.stdout[done.stdout.index("---") :]))

        assert shown[0] == shown[1]
        assert "Prices" in json.dumps(shown[1]["plan:development"]["script"])

    def test_a_wrong_endpoint_makes_no_pipeline(self, project: Path) -> None:
        """It is rejected by name when the pipeline is created."""
        (project / ".gitlab-ci.yml").write_text(CALLER.replace("demand-forecast", "Demand Forecast"))
        commit(project)

        done = run_jobs(project, options=["--list"], inputs=[])

        assert done.returncode != 0
        assert "`endpoint` input: `Demand Forecast` does not match required regex" in done.stdout
