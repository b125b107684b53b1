"""``mlops accounts``: permissions that promotion between accounts requires, read from the templates of both sides."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlops_cli.answers import AsJson, print_json
from mlops_cli.aws_account import UserError, VerdictError
from mlops_cli.stacks import assembly, assembly_places, assembly_templates
from mlops_runtime.promotion.environment_link import LinkedEnvironment

if TYPE_CHECKING:
    from mlops_runtime.promotion.template_links import LinkStatement, PlacedTemplate, TemplateLink

app = typer.Typer(help="Show the permissions between the accounts of a promotion.", no_args_is_help=True)


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
            help="Command that synthesizes the app, or the folder of a cloud assembly; repeat it if another app contains the "
            "other side. Default: `app` of cdk.json.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print every policy statement, on both sides, that allows the promotion of models between accounts.

    Makes no AWS call: the statements are those that a deployment of these templates would create. Exit 3 if one side allows
    something that the other does not, or lacks a link that the other declares. Where a target pulls images from the source's
    registry, the statements that the owner of the repository must add to its policy are printed too.
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
            "no registry releases models to another environment (ModelRegistry(deploy_to=...)) or receives them "
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
    """Yield the templates of stacks with a concrete account and Region; environment-agnostic stacks have no link."""
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


def _place(place: LinkedEnvironment) -> str:
    return f"{place.account} {place.region}"


def _side(stack: str | None, place: LinkedEnvironment) -> str:
    return f"{stack} ({_place(place)})" if stack else f"{_place(place)}, to which no stack here deploys"


def _document(link: "TemplateLink") -> dict[str, Any]:
    """Return the JSON form of a link, with its statements unchanged from the templates."""
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
        yield from _grouped([each for each in statements if each.kind == "resource"], "trusts")
        yield from _grouped([each for each in statements if each.kind == "identity"], "allows")
    for each in link.repositories:
        yield f"  the owner of {each.repository} must add to its repository policy"
        yield from map(_indented, each.statements)


def _grouped(statements: "Sequence[LinkStatement]", verb: str) -> Iterator[str]:
    from mlops_runtime.promotion.template_links import shown_statement

    for each in statements:
        yield f"    {each.resource} ({each.type}) {verb} {each.role}"
        yield _indented(shown_statement(each.statement))


def _indented(statement: Mapping[str, Any]) -> str:
    return "\n".join(f"      {line}" for line in json.dumps(statement, indent=2).splitlines())
