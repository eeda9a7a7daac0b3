"""Partial delivery without timers: in each epoch some channels deliver some of what is on them, and power fails right after an effect.

Timed simulators deliver everything or nothing on a channel, and so does a scenario; what a member does with a *part* of what was
sent stays unseen (CCF's own note on its PR 6001). Here a run is a row of epochs. Each draws which channels deliver how much, who
makes blocks, who loses patience, whose disk is slow and whose power fails with how much of it written. Pipeline and entries per
append are drawn per run from small numbers: some bugs show only at 1. After every step the stage holds all to one ledger, and the
specification's witness each statement to its rules. Calm and progress are the simulator's matter.
"""

from dataclasses import dataclass
from random import Random

from tallystick.consensus.api import Tick, Verdict
from tallystick.consensus.raft import Raft
from tallystick.network.wire.ids import NodeId
from tests.scenarios import lies
from tests.scenarios.stage import Broken, Stage, Wire, hold

EPOCHS = 40
LIES = ("prepare", "commit", "proposal", "view-change", "new-view")


@dataclass(frozen=True, slots=True)
class Explored:
    """What a run came to, so that a blind explorer shows."""

    height: int
    statements: int
    views: int
    crashes: int
    lies: int


class Run:
    def __init__(self, engine: str, seed: int) -> None:
        draw = self.draw = Random(f"explorer/{engine}/{seed}")
        members = draw.choice((4, 4, 4, 5)) if engine == "pbft" else draw.choice((2, 3, 3, 3, 5))
        lying = engine == "pbft" and draw.random() < 0.6
        self.stage = Stage(
            engine,
            members,
            pipeline=draw.choice((1, 2, 2, 4)),
            liars=frozenset([draw.randrange(members)]) if lying else frozenset(),
            entries_per_append=draw.choice((1, 1, 2, 8)),
            seed=seed,
        )
        self.stage.on_sent = self._sent
        self.archive: lies.Archive = []
        self.committed: dict[int, bytes | None] = {}
        self.crashes = self.lies = 0
        self.patience = draw.choice((0.1, 0.3, 0.6))
        self.power = draw.choice((0.0, 0.1, 0.3))
        self.doubt = draw.choice((0.0, 0.0, 0.1))

    def _sent(self, sender: NodeId, to: NodeId | None, data: bytes) -> None:
        self.archive.append((sender, to, data))

    def play(self, epochs: int = EPOCHS) -> Explored:
        """Raises what an invariant, the specification or an engine itself finds wrong."""
        stage, draw = self.stage, self.draw
        stage.verdict = lambda _, __: None if draw.random() < self.doubt else Verdict.ACCEPT
        for _ in range(epochs):
            self._epoch()
        up = [stage.members[node] for node in stage.honest]
        return Explored(
            max(len(member.final) for member in up),
            stage.witness.statements,
            max(member.engine.status().view for member in up),
            self.crashes,
            self.lies,
        )

    # -- one epoch -----------------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        stage, draw = self.stage, self.draw
        stage.now_ms += draw.choice((0, 1, 5, 20))
        for node in stage.honest:
            member = stage.members[node]
            if not member.up:
                if draw.random() < 0.6:
                    stage.restart(node)
                continue
            member.slow = draw.random() < self.power
            if draw.random() < 0.4:
                stage.work(node, draw.choice((1, 12)))
            if draw.random() < 0.3:
                stage.answer(node)
        if draw.random() < self.patience:
            self._impatient()
        if draw.random() < 0.1:
            self._cut()
        if stage.liars:
            for _ in range(draw.randrange(4)):
                self._lie()
        for _ in range(draw.choice((1, 1, 2, 6))):
            self._deliver()
            self._logs_agree()
        self._power_fails()

    def _logs_agree(self) -> None:
        """Raft: what a member takes for committed is one log, and what a leader takes for equal is."""
        for node in self.stage.honest:
            member = self.stage.members[node]
            if not isinstance(member.engine, Raft) or not member.up:
                continue
            state = member.engine._state
            for height in range(state.final_height + 1, state.commit + 1):
                link = state.log.link_at(height)
                known = self.committed.setdefault(height, link)
                hold(known == link, f"member {node} takes another block {height} for committed")
            for peer, progress in state.progress.items() if state.leads else ():
                other = self.stage.members[peer]
                if isinstance(other.engine, Raft) and other.up:
                    theirs = other.engine._state
                    if theirs.term == state.term and progress.match > theirs.final_height:
                        link = state.log.link_at(progress.match)
                        hold(theirs.log.link_at(progress.match) == link, "match is not true")

    def _impatient(self) -> None:
        """One member's clock runs out, or everybody's who is in the mood; nobody else notices."""
        stage, draw = self.stage, self.draw
        share = draw.choice((0.0, 0.4, 1.0))
        chosen = [draw.choice(stage.honest), *(n for n in stage.honest if draw.random() < share)]
        for node in chosen:
            if stage.members[node].up:
                stage.wake(node)
                if draw.random() < 0.5:
                    stage.feed(node, Tick())

    def _cut(self) -> None:
        stage, draw = self.stage, self.draw
        if stage.cut or draw.random() < 0.3:
            return stage.separate(set())
        side = {node for node in stage.ids if draw.random() < 0.5}
        one_way = draw.random() < 0.4
        pairs: set[tuple[int, int]]
        pairs = {(a, b) for a in stage.ids for b in stage.ids if a in side and b not in side}
        return stage.separate(pairs if one_way else pairs | {(b, a) for a, b in pairs})

    def _deliver(self) -> None:
        """Each channel delivers none, one, some or all of what is on it, mostly in order; now and then it loses or repeats."""
        stage, draw = self.stage, self.draw
        channels: dict[tuple[NodeId, NodeId], list[Wire]] = {}
        for wire in stage.wires:
            channels.setdefault((wire.sender, wire.to), []).append(wire)
        order = sorted(channels)
        draw.shuffle(order)
        for channel in order:
            wires = channels[channel]
            amount = draw.choice((0, 1, 2, len(wires), len(wires)))
            if draw.random() < 0.1:
                draw.shuffle(wires)
            for wire in wires[:amount]:
                if wire not in stage.wires:
                    continue  # its receiver lost power, or its link was cut, meanwhile
                if draw.random() < 0.05:
                    stage.wires.remove(wire)
                else:
                    stage.deliver(wire, keep=draw.random() < 0.03)
        if len(stage.wires) > 400:
            stage.wires = stage.wires[-100:]

    def _power_fails(self) -> None:
        """Right after an effect: with everything it wanted written, some of it, or nothing."""
        stage, draw = self.stage, self.draw
        for node in stage.honest:
            member = stage.members[node]
            if not member.up or not member.slow:
                continue
            if draw.random() < 0.5:
                stage.crash(node, draw.choice((0, len(member.steps), draw.randint(0, 3))))
                self.crashes += 1
            else:
                member.slow = False
                stage.sync(node)

    # -- the liar ------------------------------------------------------------------------------------------------------

    def _lie(self) -> None:
        """Any statement that its key can make: about any block, in any view, to some members only."""
        stage, draw = self.stage, self.draw
        liar = min(stage.liars)
        views = [stage.members[node].engine.status().view for node in stage.honest]
        view = max(0, draw.choice(views) + draw.choice((-1, 0, 0, 0, 1)))
        blocks = sorted(name for link, name in stage.names.items() if link in stage.known)
        kind = draw.choice(LIES)
        if not blocks or (kind == "proposal" and draw.random() < 0.4):
            parents = [name for _, name in sorted(stage.names.items())][-6:]
            parent = draw.choice(parents)
            links = {name: link for link, name in stage.names.items()}
            below = stage.known.get(links[parent])
            self.lies += 1
            name = f"x{self.lies}"
            stage.name(1 if below is None else below.height + 1, links[parent], name)
            blocks = [name]
        block = draw.choice(blocks[-8:])
        shown = draw.choice(("nothing", f"prepared:{max(0, view - 1)}:{block}"))
        signers = "".join(chr(ord("A") + node) for node in stage.ids if draw.random() < 0.8)
        words = [kind, f"view={view}", f"block={block}", f"shows={shown}", f"from={signers}"]
        if kind == "new-view":
            words.append("liar-shows=nothing")
        try:
            data = lies.message(stage, liar, words, self.archive)
        except (Broken, KeyError):
            return  # votes for such a certificate, or such view changes, do not exist
        self.lies += 1
        for node in stage.honest:
            if draw.random() < 0.6:
                stage.lie(liar, node, data)


def explore(engine: str, seed: int, epochs: int = EPOCHS) -> Explored:
    return Run(engine, seed).play(epochs)
