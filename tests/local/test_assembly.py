"""Reading a cloud assembly."""

import json
import os

import pytest

from mlops_local import assembly


def write(folder, stacks, **manifest):
    """Write an assembly whose stacks are `name -> (dependencies, asset files)`."""
    artifacts = {}
    for name, (needs, files) in stacks.items():
        (folder / f"{name}.template.json").write_text('{"Resources": {}}')
        (folder / f"{name}.assets.json").write_text(json.dumps({"files": files, **manifest}))
        artifacts[f"{name}.assets"] = {"type": "cdk:asset-manifest", "properties": {"file": f"{name}.assets.json"}}
        artifacts[name] = {
            "type": "aws:cloudformation:stack", "dependencies": [f"{name}.assets", *needs],
            "properties": {"templateFile": f"{name}.template.json", "stackName": f"{name}-stack", "tags": {"unit": "demand"}},
        }  # fmt: skip
    (folder / "manifest.json").write_text(json.dumps({"version": "48.0.0", "artifacts": artifacts}))
    return folder


def read(folder, names=None):
    """Read for the tests' environment."""
    return assembly.read(folder, account="000000000000", region="us-east-1", names=names)


def asset(path, packaging="file", key="k"):
    """One asset of a manifest with CDK's placeholders."""
    where = {"bucketName": "cdk-assets-${AWS::AccountId}-${AWS::Region}", "objectKey": key}
    return {"source": {"path": path, "packaging": packaging}, "destinations": {"current": where}}


def test_puts_dependencies_first_and_takes_them_along(tmp_path):
    """A stack comes after what it needs, and naming it brings that along."""
    write(tmp_path, {"a": (["c"], {}), "b": ([], {}), "c": ([], {})})
    names = [stack.name for stack in read(tmp_path)]
    assert sorted(names) == ["a-stack", "b-stack", "c-stack"]
    assert names.index("c-stack") < names.index("a-stack")
    assert [stack.name for stack in read(tmp_path, ["a-stack"])] == ["c-stack", "a-stack"]


def test_fills_placeholders_and_finds_the_uploaded_template(tmp_path):
    """Bucket names get account and region; the template is the asset of its file."""
    files = {"1": asset("a.template.json", key="hash.json"), "2": asset("code", "zip", "code.zip")}
    write(tmp_path, {"a": ([], files)})
    (stack,) = read(tmp_path)
    assert (stack.template_key, stack.tags) == ("hash.json", {"unit": "demand"})
    assert [(item.bucket, item.key, item.zipped) for item in stack.assets] == [
        ("cdk-assets-000000000000-us-east-1", "hash.json", False),
        ("cdk-assets-000000000000-us-east-1", "code.zip", True),
    ]


def test_a_folder_always_gives_the_same_zip(tmp_path):
    """Times and the order of creation do not matter."""
    made = []
    for name, order in (("one", "ab"), ("two", "ba")):
        for file in order:
            path = tmp_path / name / "pkg" / f"{file}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file)
            os.utime(path, (len(made) * 1000, 0))
        made.append(assembly.zip_folder(tmp_path / name))
    assert made[0] == made[1]


def test_fails_without_an_assembly_or_stack(tmp_path):
    """The message says what there is."""
    with pytest.raises(
        assembly.AssemblyError, match=r"no cloud assembly at .*: there is no manifest.json; synthesize first"
    ):
        read(tmp_path)
    write(tmp_path, {"a": ([], {})})
    with pytest.raises(assembly.AssemblyError, match="no stack b in the assembly; it has a-stack"):
        read(tmp_path, ["b"])


def test_fails_for_what_the_embedded_cloud_cannot_build(tmp_path):
    """Docker images and commands are refused by name."""
    with pytest.raises(assembly.AssemblyError, match="holds docker images img: the embedded cloud builds none"):
        read(write(tmp_path, {"a": ([], {})}, dockerImages={"img": {}}))
    made = {"source": {"executable": ["make"]}, "destinations": {}}
    with pytest.raises(assembly.AssemblyError, match="asset 1 is made by a command"):
        read(write(tmp_path, {"a": ([], {"1": made})}))
