"""Options of the golden plays. Registered here, so they are known when the folder is named on the command line or collected."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("plays")
    group.addoption("--rewrite", action="store_true", help="write the transcripts of plays anew")
    group.addoption("--diagrams", metavar="DIR", help="draw each play as a Mermaid diagram there")
