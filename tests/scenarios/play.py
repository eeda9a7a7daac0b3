"""The language of golden plays: a line is one idea, a paragraph is a scene, and below `----` stands what the members said in it.

    engine pbft members=4 liars=D pipeline=2 entries=8     first line of a play; asks=shown: what a start asks is played, too
    submit A|all [n]             transactions wait at members
    pay A|all bank=1 [n]         a payment of this bank waits at members; n of them, each once all is delivered
    censor A bank=2              when A leads it serves this bank only
    send-on A                    a member has sent the leader what waits at it
    deliver KIND… [from=] [to=] [block=]   what is on its way now and fits arrives; without KIND everything does
    settle                       deliver until nothing is on its way
    lose KIND… [from=] [to=]     until `lose nothing`, this gets lost on its way
    hold KIND… [from=] [to=]     until `hold nothing`, this stays on its way
    drop [KIND…] [from=] [to=]   what is on its way now and fits is lost
    again KIND… [from=] [to=] [WORD…]  the last such message ever sent arrives once more
    tick MS / run MS             time passes; `run` delivers in between
    wake A [until KIND]          time passes until this member's own deadline (until it says KIND)
    stand A                      Raft: time passes for this member until it has won its trial and stands for election
    cut A BC / heal              connections between the two groups break / all come back
    snapshot A / roll-back A     copy this member's whole machine / while it is down, put the copy in its place
    crash A [synced=n] / restart A / slow A / fast A / sync A [n]
    judge AB ACCEPT|REFUSE|DISAGREE|WAIT [block] / answer A
    fetching on|off / fetch A
    block X on b1 / say D to=AB KIND …                     a liar's message (see `lies`)
    expect …                     (see `Expectations`)

A scene that breaks an invariant or the specification fails, whatever its transcript says.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path

from tallystick.consensus.api import Judge, Verdict
from tallystick.network.wire.ids import NodeId
from tests.scenarios import expectations, lies
from tests.scenarios.stage import ROUNDS_MAX, Answer, Broken, Stage, Wire, hold
from tests.scenarios.words import ALL, letter, letters, words

LINE = "----"


@dataclass(frozen=True, slots=True)
class Sent:
    """A message left, or something happened at a member (`to` None)."""

    sender: int
    to: tuple[int, ...] | None
    text: str


@dataclass(frozen=True, slots=True)
class Filter:
    kinds: frozenset[str]
    senders: frozenset[int] | None
    receivers: frozenset[int] | None
    rest: tuple[str, ...]

    def fits(self, wire: Wire, text: str) -> bool:
        said = text.split()
        return (
            (not self.kinds or said[0] in self.kinds)
            and (self.senders is None or wire.sender in self.senders)
            and (self.receivers is None or wire.to in self.receivers)
            and all(word in said or word in _parts(text) for word in self.rest)
        )


def _parts(text: str) -> list[str]:
    """The blocks that stand in lists: entries=1:b2,1:b3."""
    return re.split(r"[ =:,]", text)


def who(text: str, stage: Stage) -> list[NodeId]:
    if text == "all":
        return [node for node in stage.honest if stage.members[node].up]
    return [NodeId(ALL.index(each)) for each in text]


def filter_of(words_: list[str]) -> Filter:
    kinds = frozenset(each for each in words_ if each[0].islower() and "=" not in each)
    named = dict(each.split("=", 1) for each in words_ if each.startswith(("from=", "to=")))

    def nodes(key: str) -> frozenset[int] | None:
        return frozenset(ALL.index(each) for each in named[key]) if key in named else None

    kinds = frozenset(each for each in kinds if not _is_block(each))
    rest = [each for each in words_ if _is_block(each)]
    rest += [each for each in words_ if "=" in each and not each.startswith(("from=", "to="))]
    return Filter(kinds, nodes("from"), nodes("to"), tuple(rest))


def _is_block(word: str) -> bool:
    """b1, b2, … are blocks that members make; a play names its own in capitals."""
    return word[0] == "b" and word[1:].isdigit()


@dataclass
class Play:
    """One file: its head, its scenes, and the stage on which they are played."""

    path: Path
    head: list[str] = field(default_factory=list)
    scenes: list[tuple[list[str], list[str]]] = field(default_factory=list)
    story: list[Sent] = field(default_factory=list)
    archive: list[tuple[NodeId, NodeId | None, bytes]] = field(default_factory=list)
    losing: list[Filter] = field(default_factory=list)
    holding: list[Filter] = field(default_factory=list)
    verdicts: dict[tuple[NodeId, str], Answer] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> "Play":
        play = cls(path)
        paragraphs = path.read_text("utf-8").strip().split("\n\n")
        for paragraph in paragraphs:
            lines = paragraph.splitlines()
            if all(line.startswith("#") for line in lines):
                play.head += [*lines, ""]
                continue
            at = lines.index(LINE) if LINE in lines else len(lines)
            play.scenes.append((lines[:at], lines[at + 1 :]))
        hold(bool(play.head), f"{path.name} does not say which bug it holds off")
        return play

    def perform(self) -> str:
        """The file as this run would write it. Raises when an expectation, an invariant or the specification does not hold."""
        scenes = []
        for commands, _ in self.scenes:
            start = len(self.story)
            for line in commands:
                try:
                    self._command(line.split("#")[0].split())
                except AssertionError as error:
                    raise Broken(f"{self.path.name}: {line}: {error}") from error
            told = transcript(self.story[start:])
            scenes.append("\n".join([*commands, LINE, *told] if told else commands))
        return "\n\n".join(["\n".join(self.head).rstrip(), *scenes]) + "\n"

    # -- commands ------------------------------------------------------------------------------------------------------

    def _command(self, line: list[str]) -> None:
        if not line:
            return
        name, rest = line[0], line[1:]
        command = getattr(self, f"do_{name.replace('-', '_')}", None)
        hold(command is not None, f"there is no command {name!r}")
        command(rest)  # type: ignore[misc]

    def do_engine(self, rest: list[str]) -> None:
        options = dict(each.split("=") for each in rest[1:])
        self.stage = Stage(
            rest[0],
            int(options.get("members", "4" if rest[0] == "pbft" else "3")),
            pipeline=int(options.get("pipeline", "2")),
            liars=frozenset(ALL.index(each) for each in options.get("liars", "")),
            entries_per_append=int(options.get("entries", "8")),
            asks_openly=options.get("asks") == "shown",
        )
        self.stage.on_sent, self.stage.on_told = self._sent, self._told
        self.stage.verdict = self._verdict

    def do_submit(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self.stage.work(node, int(rest[1]) if len(rest) > 1 else 1)

    def do_pay(self, rest: list[str]) -> None:
        bank = int(rest[1].removeprefix("bank="))
        for _ in range(int(rest[2]) if len(rest) > 2 else 1):
            self.stage.pay(who(rest[0], self.stage), bank)
            if len(rest) > 2:
                self.do_settle([])

    def do_send_on(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self.stage.pools.sent_on(node)

    def do_censor(self, rest: list[str]) -> None:
        censor, bank = who(rest[0], self.stage)[0], int(rest[1].removeprefix("bank="))
        self.stage.pools.censors[censor] = bank

    def do_deliver(self, rest: list[str]) -> None:
        wanted = filter_of(rest)
        fits = [wire for wire in self.stage.wires if wanted.fits(wire, self.text(wire))]
        hold(bool(fits), "nothing that fits is on its way")
        for wire in fits:
            if wire in self.stage.wires:
                self._arrive(wire)

    def do_settle(self, _: list[str]) -> None:
        for _round in range(ROUNDS_MAX):
            moving = [wire for wire in self.stage.wires if not self._held(wire)]
            if not moving:
                return
            for wire in moving:
                if wire in self.stage.wires:
                    self._arrive(wire)
        raise Broken("messages never end")

    def do_lose(self, rest: list[str]) -> None:
        self.losing = [] if rest == ["nothing"] else [*self.losing, filter_of(rest)]

    def do_hold(self, rest: list[str]) -> None:
        self.holding = [] if rest == ["nothing"] else [*self.holding, filter_of(rest)]

    def do_drop(self, rest: list[str]) -> None:
        wanted = filter_of(rest)
        for wire in list(self.stage.wires):
            if wanted.fits(wire, self.text(wire)):
                self.stage.wires.remove(wire)

    def do_again(self, rest: list[str]) -> None:
        wanted = filter_of(rest)
        for sender, to, data in reversed(self.archive):
            targets = self.stage.ids if to is None else (to,)
            for target in targets:
                wire = Wire(sender, target, data)
                if target != sender and wanted.fits(wire, self.text(wire)):
                    self._say_line(sender, (target,), f"again: {self.text(wire)}")
                    self.stage.deliver(wire, keep=True)
                    return
        raise Broken("no such message was ever sent")

    def do_tick(self, rest: list[str]) -> None:
        self.stage.tick(int(rest[0]))

    def do_run(self, rest: list[str]) -> None:
        for _ in range(int(rest[0]) // 10):
            self.stage.tick(10)
            self.do_settle([])

    def do_wake(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self._wake(node, rest[2] if len(rest) > 1 else None)

    def _wake(self, node: NodeId, until: str | None) -> None:
        start = len(self.archive)
        for _ in range(40):
            self.stage.wake(node)
            said = [self.text(Wire(s, s, d)) for s, _, d in self.archive[start:] if s == node]
            if until is None or any(text.split()[0] == until for text in said):
                return
        raise Broken(f"{letter(node)} never says {until}")

    def do_stand(self, rest: list[str]) -> None:
        """Raft: a member's own clock runs out until it has won its trial and stands."""
        node, start = who(rest[0], self.stage)[0], len(self.archive)
        for _ in range(60):
            self.stage.wake(node)
            for wire in list(self.stage.wires):
                trial = self.text(wire).split()[0] in {"pre-vote?", "pre-vote"}
                if trial and node in (wire.sender, wire.to) and not self._held(wire):
                    self._arrive(wire)
            said = [self.text(Wire(s, s, d)) for s, _, d in self.archive[start:] if s == node]
            if any(text.startswith("vote?") for text in said):
                return
        raise Broken(f"{letter(node)} never stands")

    def do_cut(self, rest: list[str]) -> None:
        one, other = who(rest[0], self.stage), who(rest[1], self.stage)
        pairs = {(a, b) for a in one for b in other} | {(b, a) for a in one for b in other}
        if "one-way" in rest:
            pairs = {(a, b) for a in one for b in other}
        self.stage.separate({*self.stage.cut, *pairs})

    def do_heal(self, _: list[str]) -> None:
        self.stage.separate(set())

    def do_crash(self, rest: list[str]) -> None:
        synced = int(rest[1].removeprefix("synced=")) if len(rest) > 1 else 0
        for node in who(rest[0], self.stage):
            self._told(node, "crashes")
            self.stage.crash(node, synced)

    def do_restart(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self._told(node, "restarts")
            self.stage.restart(node)

    def do_snapshot(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self.stage.snapshot(node)

    def do_roll_back(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self._told(node, "is set back to its snapshot")
            self.stage.roll_back(node)

    def do_slow(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self.stage.members[node].slow = True

    def do_fast(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self.stage.members[node].slow = False
            self.stage.sync(node)

    def do_sync(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self.stage.sync(node, int(rest[1]) if len(rest) > 1 else None)

    def do_judge(self, rest: list[str]) -> None:
        verdict = None if rest[1] == "WAIT" else Verdict[rest[1]]
        for node in who(rest[0], self.stage):
            self.verdicts[node, rest[2] if len(rest) > 2 else "*"] = verdict

    def do_answer(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self.stage.answer(node)

    def do_fetching(self, rest: list[str]) -> None:
        self.stage.fetches = rest[0] == "on"

    def do_fetch(self, rest: list[str]) -> None:
        for node in who(rest[0], self.stage):
            self.stage.fetch(node)

    def do_block(self, rest: list[str]) -> None:
        parents = {name: link for link, name in self.stage.names.items()}
        parent = parents[rest[2]]
        below = self.stage.known[parent].height if parent in self.stage.known else 0
        self.stage.name(below + 1, parent, rest[0])

    def do_say(self, rest: list[str]) -> None:
        liar = NodeId(ALL.index(rest[0]))
        data = lies.message(self.stage, liar, rest[2:], self.archive)
        for node in who(rest[1].removeprefix("to="), self.stage):
            self.stage.lie(liar, node, data)

    def do_expect(self, rest: list[str]) -> None:
        expectations.check(self.stage, [(s.sender, s.text) for s in self.story], rest)

    # -- what happens --------------------------------------------------------------------------------------------------

    def text(self, wire: Wire) -> str:
        return words(self.stage.kind, wire.data, self.stage.names)

    def _held(self, wire: Wire) -> bool:
        return any(each.fits(wire, self.text(wire)) for each in self.holding)

    def _arrive(self, wire: Wire) -> None:
        if any(each.fits(wire, self.text(wire)) for each in self.losing):
            self.stage.wires.remove(wire)
        else:
            self.stage.deliver(wire)

    def _verdict(self, node: NodeId, judge: Judge) -> Answer:
        name = self.stage.names.get(judge.block.link, "?")
        default = self.verdicts.get((node, "*"), Verdict.ACCEPT)
        return self.verdicts.get((node, name), default)

    def _sent(self, sender: NodeId, to: NodeId | None, data: bytes) -> None:
        self.archive.append((sender, to, data))
        others = [node for node in self.stage.ids if node != sender]
        targets = tuple(others) if to is None else (to,)
        self._say_line(sender, targets, self.text(Wire(sender, sender, data)))

    def _say_line(self, sender: int, to: tuple[int, ...], text: str) -> None:
        self.story.append(Sent(sender, to, text))

    def _told(self, node: NodeId, text: str) -> None:
        self.story.append(Sent(node, None, text))


def transcript(story: list[Sent]) -> list[str]:
    """Equal words of several members, or to several, in one line, at the place where they were first said."""
    grouped: dict[tuple[str, bool], list[Sent]] = {}
    for each in story:
        grouped.setdefault((each.text, each.to is None), []).append(each)
    lines = []
    for (text, silent), said in grouped.items():
        senders = letters({each.sender for each in said})
        if silent:
            lines.append(f"{senders:<9} {text}")
            continue
        to = letters({node for each in said for node in each.to or ()})
        lines.append(f"{senders + '>' + to:<9} {text}")
    return lines
