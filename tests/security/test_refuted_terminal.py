"""Words of a node reach the terminal as words: they neither steer it, nor stop the command, nor pass for our own."""

import pytest
import typer

from tallystick.wallet.cli.output import fail, harmless, show_pairs, show_table
from tallystick.wallet.errors import Untrusted

STEERING = "\x1b]0;owned\x07\x1b[2J\r\n\u202eready"


@pytest.mark.parametrize("words", ["[/nobody]", "[bold red]halted[/]", "[link=https://x]y[/link]"])
def test_a_cell_is_never_markup(words: str, capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("said",), [(words,)])
    assert words in capsys.readouterr().out


def test_what_steers_a_terminal_is_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("said",), [(STEERING,)])
    show_pairs({"said": STEERING})
    with pytest.raises(typer.Exit):
        fail(Untrusted(STEERING), json=False)
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert not {"\x1b", "\x07", "\r", "\u202e"} & set(text)
        assert "\\x1b" in text


@pytest.mark.parametrize("words", ["4.00 USD", "ä € 漢", ""])
def test_what_shows_stays_as_it_is(words: str) -> None:
    assert harmless(words) == words
