"""The other verifier is built once for all of these tests, which skip with the reason where it cannot be."""

import os
import shutil
from pathlib import Path

import pytest

import verifier
from tests.verifier.other import Other


def built() -> tuple[Path, Path]:
    try:
        return verifier.build()
    except verifier.NotInstalled as why:
        pytest.skip(f"the verifier for browsers was not built: {why}")


@pytest.fixture(scope="session")
def page() -> Path:
    """The one HTML file."""
    return built()[0]


@pytest.fixture(scope="session")
def other() -> Other:
    """The same modules under node."""
    return Other(built()[1])


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's browser; Playwright downloads none."""
    for name in ("chromium", "chromium-browser"):
        if (found := shutil.which(name)) is not None:
            return os.fspath(found)
    pytest.skip("no chromium is installed (on Debian: apt-get install chromium)")
