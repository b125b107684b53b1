"""``mlops accounts``: what the accounts between which models are promoted allow each other."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import UserError, VerdictError
from mlops_cli.stacks import assembly, assembly_places, assembly_templates

if TYPE_CHECKING:
    from mlops_runtime.promotion.environment_link import LinkedEnvironment
    from mlops_runtime.promotion.template_links import LinkStatement, PlacedTemplate, TemplateLink

app = typer.Typer(help="Show what accounts allow each other.", no_args_is_help=True)


@app.callback()
def _verbs() -> None:
    """Keep the verb's name, although it is the only one."""


@app.command()
def show(
    *,
    apps: Annotated[
        list[str] | None,
        typer.Option(
            "--app",
            help="Command that synthesizes the app, or the folder of a cloud assembly; give it again for an app that has the "
            "other side. Default: `app` of cdk.json.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print every statement by which accounts let each other take models, of both sides, as the templates have it.

    It asks nothing of AWS: what is printed is what a deployment of these templates would allow. Exit 3 if one side allows what the
    other does not, or knows of no link that the other one declares. Where a target takes images from the source's registry, it also
    prints what the owner of the repository adds to its policy.
    """
    from mlops_runtime.promotion.template_links import template_links

    named: Sequence[str | None] = apps or [None]
    templates = [each for one in named for each in _templates(one)]
    links = template_links(templates)
    if not links:
        stacks = (
            ", ".join(f"{each.stack} ({_place(each.place)})" for each in templates)
            or "none with an account and a Region"
        )
        raise UserError(
            "no registry releases models to another environment (ModelRegistry(deploy_to=...)) or takes them "
            f"(ModelRegistry.from_environment); stacks: {stacks}"
        )
    problems = [each for link in links for each in link.problems]
    document = {"links": list(map(_document, links)), "problems": problems}
    if not as_json:
        typer.echo("\n\n".join("\n".join(_lines(link)) for link in links))
    if problems:
        raise VerdictError("; ".join(problems), document=document)
    if as_json:
        print_json(document)


def _templates(app: str | None) -> "Iterator[PlacedTemplate]":
    """Yield the templates of stacks whose account and Region are known: others have no link."""
    from mlops_runtime.promotion.environment_link import LinkedEnvironment
    from mlops_runtime.promotion.template_links import PlacedTemplate

    with assembly(app) as folder:
        templates = dict(assembly_templates(Path(folder)))
        for stack, account, region in assembly_places(folder):
            if account and region:
                yield PlacedTemplate(
                    stack=stack,
                    place=LinkedEnvironment(account=account, region=region),
                    resources=templates[stack].get("Resources", {}),
                )


def _place(place: "LinkedEnvironment") -> str:
    return f"{place.account} {place.region}"


def _side(stack: str | None, place: "LinkedEnvironment") -> str:
    return f"{stack} ({_place(place)})" if stack else f"{_place(place)}, which no stack here goes to"


def _document(link: "TemplateLink") -> dict[str, Any]:
    """Return a link for programs: statements are as their templates have them."""
    sides = (("source", link.source_stack, link.source), ("target", link.target_stack, link.target))
    return {
        "unit": link.unit,
        "group": link.group,
        **{name: {"stack": stack, "account": place.account, "region": place.region} for name, stack, place in sides},
        "statements": [
            {
                "stack": each.stack,
                "resource": each.resource,
                "type": each.type,
                "kind": each.kind,
                "role": each.role,
                "statement": each.statement,
            }
            for each in link.statements
        ],
        "repositories": [{"repository": each.repository, "statements": each.statements} for each in link.repositories],
        "problems": list(link.problems),
    }


def _lines(link: "TemplateLink") -> Iterator[str]:
    yield f"{link.group}: {_side(link.source_stack, link.source)} -> {_side(link.target_stack, link.target)}"
    for stack in dict.fromkeys(each.stack for each in link.statements):
        statements = [each for each in link.statements if each.stack == stack]
        yield f"  stack {stack}"
        yield from _grouped([each for each in statements if each.kind == "resource"], "lets in")
        yield from _grouped([each for each in statements if each.kind == "identity"], "lets")
    for each in link.repositories:
        yield f"  the owner of {each.repository} adds to its policy"
        yield from map(_indented, each.statements)


def _grouped(statements: "Sequence[LinkStatement]", verb: str) -> Iterator[str]:
    from mlops_runtime.promotion.template_links import shown_statement

    for each in statements:
        yield f"    {each.resource} ({each.type}) {verb} {each.role}"
        yield _indented(shown_statement(each.statement))


def _indented(statement: Mapping[str, Any]) -> str:
    return "\n".join(f"      {line}" for line in json.dumps(statement, indent=2).splitlines())
