"""How the node's commands speak: sentences for people, one JSON document for machines, errors that say what to do."""

import json
from collections.abc import Mapping
from typing import NoReturn

import typer

EXIT_FAILED = 1


def say(as_json: bool, document: Mapping[str, object], *lines: str) -> None:
    """The document, or the lines."""
    typer.echo(json.dumps(document, indent=2) if as_json else "\n".join(lines))


def fail(as_json: bool, *sentences: str) -> NoReturn:
    """Say what is wrong on standard error and leave with 1."""
    if as_json:
        typer.echo(json.dumps({"errors": list(sentences)}), err=True)
    else:
        for sentence in sentences:
            typer.echo(f"error: {sentence}", err=True)
    raise typer.Exit(EXIT_FAILED)
