"""What a play expects, in its last lines; a transcript alone would only say what happened.

expect ledger ABC b1 b2      these final blocks, each of them     expect ledger D nothing
expect begins ABC b1         these are the first final blocks of each of them
expect height 3 ABCD         expect agreement
expect said A commit view=1 b2      somebody of A said a message with all these words
expect never AB prepare X           nobody of them ever did
expect told A guard-refused         something happened there (final, alarm, halts, leader …)
expect view 1 AB [open|left]        expect leader A [term=2]
expect log A b1 b2  expect commit A 1  expect match A B 2         Raft's log above nothing, commit and match index
expect judged A b1 aged|fresh       the last time at which this block's time was tested, or not
"""

from typing import Any

from tallystick.consensus.raft.core import Raft
from tests.scenarios.stage import Broken, Member, Stage, hold
from tests.scenarios.words import ALL, letter

Story = list[tuple[int, str]]


def check(stage: Stage, story: Story, rest: list[str]) -> None:
    name, *facts = rest
    match name:
        case "agreement":
            _agreement(stage)
        case "height":
            for member in _members(stage, facts[1]):
                got = len(member.final)
                hold(got == int(facts[0]), f"{letter(member.node)} stands at {got}")
        case "begins":
            for member in _members(stage, facts[0]):
                got_names = [stage.names[block.link] for block in member.final]
                hold(
                    got_names[: len(facts) - 1] == facts[1:], f"{letter(member.node)}: {got_names}"
                )
        case "ledger":
            wanted = [] if facts[1:] == ["nothing"] else facts[1:]
            for member in _members(stage, facts[0]):
                got_names = [stage.names[block.link] for block in member.final]
                hold(got_names == wanted, f"{letter(member.node)} has {got_names}")
        case "said" | "told":
            hold(_found(story, facts), f"nobody of {facts[0]} ever did")
        case "never":
            hold(not _found(story, facts), f"somebody of {facts[0]} did")
        case "view":
            for member in _members(stage, facts[1]):
                status = member.engine.status()
                hold(status.view == int(facts[0]), f"{letter(member.node)}: view {status.view}")
                if len(facts) > 2:
                    hold(status.active == (facts[2] == "open"), f"open: {status.active}")
        case "leader":
            _leader(stage, facts)
        case "log" | "commit" | "match":
            _log(stage, name, facts)
        case "judged":
            for member in _members(stage, facts[0]):
                judged = [j for j in member.judged if stage.names[j.block.link] == facts[1]]
                hold(bool(judged), f"{facts[1]} was never judged")
                hold(judged[-1].fresh == (facts[2] == "fresh"), f"fresh: {judged[-1].fresh}")
        case _:
            raise Broken(f"there is no expectation {name!r}")


def _members(stage: Stage, text: str) -> list[Member]:
    return [stage.members[stage.ids[ALL.index(each)]] for each in text]


def _found(story: Story, facts: list[str]) -> bool:
    who = {ALL.index(each) for each in facts[0]}
    return any(
        sender in who and all(word in text.split() for word in facts[1:]) for sender, text in story
    )


def _agreement(stage: Stage) -> None:
    chains = [[block.link for block in stage.members[node].final] for node in stage.honest]
    longest = max(chains, key=len)
    hold(all(longest[: len(chain)] == chain for chain in chains), "ledgers differ")


def _leader(stage: Stage, facts: list[str]) -> None:
    leading = [
        letter(node)
        for node in stage.honest
        if stage.members[node].up and _state(stage.members[node]).leads
    ]
    if facts[0] == "nobody":
        return hold(not leading, f"{leading} lead")
    hold(facts[0] in leading, f"{leading} lead")
    if len(facts) > 1:
        term = _members(stage, facts[0])[0].engine.status().view
        hold(f"term={term}" == facts[1], f"in term {term}")
    return None


def _log(stage: Stage, name: str, facts: list[str]) -> None:
    for member in _members(stage, facts[0]):
        state = _state(member)
        if name == "commit":
            hold(state.commit == int(facts[1]), f"committed is {state.commit}")
        elif name == "match":
            for other in _members(stage, facts[1]):
                match = state.progress[other.node].match
                hold(match == int(facts[2]), f"match is {match}")
        else:
            names = [stage.names[entry.block.link] for entry in state.log.entries]
            hold(names == facts[1:], f"{letter(member.node)}'s log is {names}")


def _state(member: Member) -> Any:
    engine: Any = member.engine
    if not isinstance(engine, Raft):
        raise Broken("only Raft has a log, a leader's term and match indexes")
    return engine._state
