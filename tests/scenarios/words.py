"""What a message says, as one line of a transcript: its kind first, then its facts; blocks by the names that the play gave them."""

from collections.abc import Mapping

from tallystick.consensus.pbft import messages as pbft
from tallystick.consensus.raft import messages as raft
from tallystick.network.proofs.certificates import Certificate
from tallystick.network.proofs.evidence import Kind
from tallystick.network.wire.ids import Link
from tests.unit.consensus.table import describe

Names = Mapping[Link, str]
ALL = "ABCDEFGHI"


def letter(node: int) -> str:
    return ALL[node]


def letters(nodes: object) -> str:
    return "".join(letter(node) for node in sorted(nodes))  # type: ignore[call-overload]


def certificate_words(certificate: Certificate | None, names: Names) -> str:
    if certificate is None:
        return "nothing"
    phase = "committed" if certificate.commits else "prepared"
    return f"{phase}:{certificate.view}:{names.get(certificate.link, '?')}"


def words(engine: str, data: bytes, names: Names) -> str:
    return pbft_words(data, names) if engine == "pbft" else raft_words(data, names)


def pbft_words(data: bytes, names: Names) -> str:
    said: pbft.Message = pbft.MESSAGE.decode(data)
    match said:
        case pbft.Proposal(_, view, block):
            return f"proposal view={view} {_block(block, names)}"
        case pbft.Vote(phase, _, view, height, link):
            name = "prepare" if phase == 1 else "commit"
            return f"{name} view={view} height={height} {names.get(link, '?')}"
        case pbft.ViewChange(_, view, signer, certificate):
            return f"view-change view={view} of={letter(signer)} shows={certificate_words(certificate, names)}"
        case pbft.NewView(_, view, changes):
            shown = [each.certificate for each in changes if each.certificate is not None]
            tip = max(shown, key=lambda each: (each.rank, each.commits), default=None)
            signers = letters(each.signer for each in changes)
            return f"new-view view={view} from={signers} tip={certificate_words(tip, names)}"
        case pbft.Decided(certificate):
            return f"decided {certificate_words(certificate, names)}"
        case pbft.Standing(_, view, active, height):
            return f"standing view={view} {'open' if active else 'left'} height={height}"
        case pbft.AskBlock(link):
            return f"ask-block {names.get(link, '?')}"
        case pbft.GiveBlock(block):
            return f"give-block {_block(block, names)}"
        case pbft.Disagree(_, view, height, proposed):
            return f"disagree view={view} height={height} {names.get(proposed, '?')}"
        case pbft.AskSigned():
            return "ask-signed"
        case pbft.ShowSigned(_, _, statements):
            held = ",".join(_statement(each, names) for each in statements)
            return f"show-signed {held or 'nothing'}"
        case _:
            raise AssertionError(f"no words for {said!r}")


def _statement(each: pbft.Statement, names: Names) -> str:
    name = Kind(each.kind).name.lower().replace("_", "-")
    return f"{name}:{each.view}:{names.get(Link(each.said.link), '-')}"


def raft_words(data: bytes, names: Names) -> str:
    said: raft.Message = raft.MESSAGE.decode(data)
    match said:
        case raft.AskVote(_, term, trial, last_term, last_height):
            name = "pre-vote?" if trial else "vote?"
            return f"{name} term={term} last={last_term}/{last_height}"
        case raft.GiveVote(_, term, trial, granted):
            name = "pre-vote" if trial else "vote"
            return f"{name} term={term} {'yes' if granted else 'no'}"
        case raft.Append(_, term, prev_height, prev_term, entries, commit):
            shown = [f"{row.term}:{_block(row.block, names)}" for row in entries]
            entries_shown = ",".join(each.split()[0] for each in shown) or "-"
            return f"append term={term} prev={prev_term}/{prev_height} entries={entries_shown} commit={commit}"
        case raft.Acked(_, term, match):
            return f"acked term={term} match={match}"
        case raft.Nack(_, term, rejected, hint_height, hint_term):
            return f"nack term={term} rejected={rejected} hint={hint_term}/{hint_height}"
        case raft.Declined(_, term, height, link):
            return f"declined term={term} height={height} {names.get(link, '?')}"
        case raft.Countersignature(_, term, height, link):
            return f"countersign term={term} height={height} {names.get(link, '?')}"
        case raft.Decided(certificate):
            return f"decided {certificate_words(certificate, names)}"
        case raft.StandNow(_, term):
            return f"stand-now term={term}"
        case _:
            raise AssertionError(f"no words for {said!r}")


def _block(data: bytes, names: Names) -> str:
    block = describe(data)
    if block is None:
        return "?"
    return f"{names.get(block.link, '?')} height={block.height}"
