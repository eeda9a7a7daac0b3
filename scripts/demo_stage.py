"""What a demo shows: numbered chapters, progress while something lasts, and a closing table. Plain text where no terminal is."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text


class Meter(Protocol):
    """Something that counts up to a total."""

    def advance(self, steps: int = 1) -> None: ...

    def say(self, text: str) -> None:
        """Change the words beside the bar."""
        ...


class Stage:
    """One demo's output, on standard output."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self._number = 0

    def chapter(self, title: str, sentence: str = "") -> None:
        self._number += 1
        self.console.print()
        self.console.rule(f"[bold]{self._number}. {title}[/]", align="left", style="cyan")
        if sentence:
            self.console.print(f"[dim]{sentence}[/]")

    def tell(self, text: str) -> None:
        self.console.print(f"   {text}")

    def quote(self, text: str) -> None:
        """Another program's words, each line cut at the terminal's edge."""
        for line in text.strip().splitlines():
            self.console.print(Text(f"   {line}", style="dim"), no_wrap=True, overflow="ellipsis")

    def good(self, text: str) -> None:
        self.console.print(f" [green]✓[/] {text}")

    def bad(self, text: str) -> None:
        self.console.print(f" [red]✗[/] {text}")

    def check(self, holds: bool, text: str) -> bool:
        (self.good if holds else self.bad)(text)
        return holds

    @contextlib.contextmanager
    def progress(self, text: str, total: int) -> Iterator[Meter]:
        """A bar while the block runs; nothing without a terminal."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=32),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        silent = not self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=silent) as bar:
            yield _Bar(bar, text, total)

    def table(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        show = Table(
            show_header=False,
            title=title,
            title_justify="left",
            title_style="bold",
            box=None,
            padding=(0, 2),
        )
        for name, value in rows:
            show.add_row(name, value)
        self.console.print()
        self.console.print(show)

    def command(self, line: str) -> None:
        """A command line to copy: never wrapped."""
        self.console.print(Text(f"   {line}", style="cyan"), soft_wrap=True)


class _Bar:
    def __init__(self, bar: Progress, text: str, total: int) -> None:
        self._bar = bar
        self._task = bar.add_task(text, total=total)

    def advance(self, steps: int = 1) -> None:
        self._bar.advance(self._task, steps)

    def say(self, text: str) -> None:
        self._bar.update(self._task, description=text)
