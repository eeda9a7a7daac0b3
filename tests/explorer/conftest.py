"""`pytest tests/explorer -m campaign --explore N`: so many more runs for each engine."""

import pytest

CHUNK = 250
CAMPAIGN_FROM = 10_000


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("explorer")
    group.addoption("--explore", type=int, default=12_000, metavar="N", help="runs of a campaign")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "campaign_first" in metafunc.fixturenames:
        runs = metafunc.config.getoption("--explore", default=12_000)
        firsts = range(CAMPAIGN_FROM, CAMPAIGN_FROM + runs, CHUNK)
        metafunc.parametrize("campaign_first", firsts)
