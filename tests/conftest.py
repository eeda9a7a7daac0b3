"""What every test may use, and the last check of a session: that no file was imported under two names."""

import logging
import sys
from pathlib import Path

import pytest
import structlog

ROOT = Path(__file__).resolve().parent.parent
BARE_NAMES = ("node", "consensus", "contracts", "wallet", "network")


@pytest.fixture(autouse=True)
def quiet_logs() -> None:
    """Nodes that run inside the tests' process print nothing; a test of the logs captures or configures them itself."""
    if not structlog.is_configured():
        structlog.configure(
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=structlog.ReturnLoggerFactory(),
        )


@pytest.fixture(scope="session")
def shared_vectors() -> Path:
    """The folder of published test vectors beside the checkout; tests that need it skip where it is absent."""
    folder = ROOT.parent / "shared" / "vectors"
    if not folder.is_dir():
        pytest.skip(f"no published vectors at {folder}")
    return folder


def bare_imports() -> list[str]:
    """Modules of ours that were imported without `tallystick.`: their classes exist twice."""
    return sorted(name for name in sys.modules if name.split(".")[0] in BARE_NAMES)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    found = bare_imports()
    if found:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        raise pytest.UsageError(f"imported without 'tallystick.': {', '.join(found)}")
