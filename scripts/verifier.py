"""Builds the verifier for browsers from `docs/verifier`: one HTML file that needs no network, and the same code for node.

npm installs what `package-lock.json` pins, each package checked against its integrity hash and no script of a package run.
esbuild joins the modules; the page names the hash of the one script that it runs, and allows no connection at all.
"""

import argparse
import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCE: Final = ROOT / "docs" / "verifier"
BUILT: Final = ROOT / "build" / "verifier"
PAGE: Final = BUILT / "verifier.html"
BATCH: Final = BUILT / "batch.mjs"
TARGETS: Final = "chrome109,firefox115,safari16.4,node18"
NODE_MAJOR_MIN: Final = 18
"""Debian 12's."""
STEP_SECONDS_MAX: Final = 180


UNREACHABLE: Final = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT")
"""What npm says when it is the network that fails."""


class CannotBuild(Exception):
    """Why not, in one sentence."""


class NotInstalled(CannotBuild):
    """This machine lacks a tool, or cannot fetch the packages: no fault of ours."""


def missing() -> str | None:
    """Why nothing can be built here, None if it can."""
    for command in ("node", "npm"):
        if shutil.which(command) is None:
            return f"{command} is not installed (on Debian: apt-get install nodejs npm)"
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if not version.startswith("v") or int(version[1:].split(".")[0]) < NODE_MAJOR_MIN:
        return f"node {version} is older than {NODE_MAJOR_MIN}"
    return None


def build() -> tuple[Path, Path]:
    """(page, node program), built if any source is newer. `CannotBuild` says why not."""
    if (why := missing()) is not None:
        raise NotInstalled(why)
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in two processes
        want, stamp = digest_of_sources(), BUILT / "stamp"
        if not (stamp.is_file() and stamp.read_text() == want):
            install()
            bundle("batch.js", BATCH, "--platform=node", "--format=esm")
            script = bundle("page.js", BUILT / "page.js", "--format=iife", "--minify")
            PAGE.write_text(page_with(script), "utf-8")
            stamp.write_text(want)
    return PAGE, BATCH


def digest_of_sources() -> str:
    sources = [SOURCE / "package-lock.json", SOURCE / "page.html", Path(__file__).resolve()]
    sources += sorted((SOURCE / "src").glob("*.js"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def install() -> None:
    """The pinned packages, into `docs/verifier/node_modules`."""
    run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def bundle(source: str, target: Path, *options: str) -> str:
    """One module and all that it imports as one file; its text."""
    esbuild = str(SOURCE / "node_modules" / ".bin" / "esbuild")
    common = ("--bundle", f"--target={TARGETS}", "--charset=utf8", "--log-level=warning")
    run(esbuild, f"src/{source}", f"--outfile={target}", *common, *options)
    return target.read_text("utf-8")


def page_with(script: str) -> str:
    """The page with its script inside, and the script's hash in its policy."""
    if "</script" in script.lower():
        raise CannotBuild("the script holds its own closing tag")
    hashed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = (SOURCE / "page.html").read_text("utf-8")
    return page.replace("{{script hash}}", hashed).replace("{{script}}", script)


def run(*command: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=SOURCE,
            capture_output=True,
            text=True,
            timeout=STEP_SECONDS_MAX,
            check=False,
            env=os.environ | {"npm_config_update_notifier": "false"},
        )
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"{command[0]} did not end within {STEP_SECONDS_MAX} s") from None
    if done.returncode != 0:
        said = (done.stderr + done.stdout)[-2000:]
        kind = NotInstalled if any(code in said for code in UNREACHABLE) else CannotBuild
        raise kind(f"{Path(command[0]).name} failed: {said}")


def main() -> int:
    argparse.ArgumentParser(description=__doc__).parse_args()
    try:
        page, _ = build()
    except CannotBuild as error:
        print(f"verifier: {error}", file=sys.stderr)
        return 1
    print(
        f"built {page.relative_to(ROOT)} ({page.stat().st_size // 1024} kB): open it in a browser"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
