"""Chain-linked PBFT as an explicit relation: what a member may sign, given what has been signed (DIVERGENCE.md of consensus/pbft).

`Rules` is the protocol, one method per rule. `search.search` plays every order of its actions within a bound, with one liar among four;
`pbft_witness` holds real engines to the same rules. A weakened rule is a subclass that overrides one method: the search must then
find two blocks committed at one height.

Why the state is small. Messages stay for ever, and every rule says "some message exists", so who has seen what needs no place.
The liar keeps nothing: its vote for anything exists, so two honest votes of three are a certificate, and any leader may propose
anything to anybody. A statement of view v rests on statements of views up to v, so the views can be played one after another.
"""

from collections.abc import Collection, Container, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, product
from typing import NamedTuple, TypeAlias

Link: TypeAlias = str | bytes
Certificate: TypeAlias = tuple[int, int, Link]
"""(view, height, link): the order of certificates is the order of such tuples' first two places."""
Place: TypeAlias = tuple[int, Link]

ROOT = ""
NONE: Certificate = (-1, 0, ROOT)
"""Nothing was prepared yet: the root is everybody's tip."""


def rank(certificate: Certificate) -> tuple[int, int]:
    return certificate[0], certificate[1]


class Rules:
    """The protocol as written. In the search a link is the string of the payloads down to it: its prefixes are its ancestors."""

    mixes_prepares = mixes_commits = votes_in_the_past = False

    def tips(self, shown: Iterable[Certificate]) -> frozenset[Certificate]:
        """On which certificates may a view open that q view changes with these certificates justify? On one."""
        found = list(shown)
        top = max(self.measure(certificate) for certificate in found)
        return frozenset(each for each in found if self.measure(each) == top)

    def measure(self, certificate: Certificate) -> tuple[int, ...]:
        return rank(certificate)

    def may_prepare(
        self,
        tips: Collection[Certificate],
        prepared: tuple[Place, ...],
        block: Place,
        parent: Link,
        committed: Container[Link],
    ) -> bool:
        """`prepared`: what this member PREPAREd in this view, in order. A child of the last; first, the tip; or a child of what
        is committed, above the last and above a tip."""
        height, link = block
        if prepared:
            last_height, last = prepared[-1]
            return parent == last or (parent in committed and height > last_height)
        if any(link == tip[2] for tip in tips):
            return True
        return parent in committed and any(tip[1] < height for tip in tips)

    def may_show(self, known: Certificate, shown: Certificate, committed: Container[Link]) -> bool:
        """A VIEW-CHANGE shows the largest certificate that its sender knows; `known` it surely does."""
        return rank(shown) >= rank(known)


class TipByViewAlone(Rules):
    def measure(self, certificate: Certificate) -> tuple[int, ...]:
        return (certificate[0],)


class TipByHeightAlone(Rules):
    def measure(self, certificate: Certificate) -> tuple[int, ...]:
        return (certificate[1],)


class TipByHeightFirst(Rules):
    def measure(self, certificate: Certificate) -> tuple[int, ...]:
        return certificate[1], certificate[0]


class FirstPrepareForAnAncestor(Rules):
    def may_prepare(self, tips, prepared, block, parent, committed):  # type: ignore[no-untyped-def]
        ancestor = not prepared and any(str(tip[2]).startswith(str(block[1])) for tip in tips)
        return ancestor or super().may_prepare(tips, prepared, block, parent, committed)


class FirstPrepareForAFreshBlock(Rules):
    def may_prepare(self, tips, prepared, block, parent, committed):  # type: ignore[no-untyped-def]
        fresh = not prepared and parent in committed
        return fresh or super().may_prepare(tips, prepared, block, parent, committed)


class PreparesOfTwoViewsAdd(Rules):
    mixes_prepares = True


class CommitsOfTwoViewsAdd(Rules):
    mixes_commits = True


class VotesInAViewLeftBehind(Rules):
    """All sign VIEW-CHANGE, and vote on in the old view: what they show says nothing about what they will have committed."""

    votes_in_the_past = True

    def may_show(self, known, shown, committed):  # type: ignore[no-untyped-def]
        return True


class PrepareWithoutItsParent(Rules):
    def may_prepare(self, tips, prepared, block, parent, committed):  # type: ignore[no-untyped-def]
        if prepared:
            return all(block[0] != height for height, _ in prepared)
        return super().may_prepare(tips, prepared, block, parent, committed)


class ShowsNothingOfWhatIsCommitted(Rules):
    def may_show(self, known, shown, committed):  # type: ignore[no-untyped-def]
        return known[2] in committed or rank(shown) >= rank(known)


# -- the bounded search ------------------------------------------------------------------------------------------------


class Member(NamedTuple):
    known: Certificate = NONE
    prepared: tuple[Place, ...] = ()
    committed: tuple[Place, ...] = ()
    old_prepared: tuple[Place, ...] = ()
    old_committed: tuple[Place, ...] = ()


class State(NamedTuple):
    view: int = 0
    tips: frozenset[Certificate] = frozenset([NONE])
    certificates: frozenset[Certificate] = frozenset([NONE])
    """Prepared certificates of views left behind."""
    committed: frozenset[Link] = frozenset([ROOT])
    members: tuple[Member, ...] = (Member(), Member(), Member())
    """The three honest ones, sorted: they are interchangeable."""


@dataclass(frozen=True)
class World:
    rules: Rules = field(default_factory=Rules)
    views: int = 2
    heights: int = 2
    lying_leaders: frozenset[int] | None = None
    """Views whose leader lies. None: all. In the others everybody hears of one chain of proposals."""

    def blocks(self) -> list[str]:
        runs = [product("ab", repeat=height) for height in range(1, self.heights + 1)]
        return ["".join(payloads) for run in runs for payloads in run]

    def start(self) -> State:
        return State()

    def canonical(self, state: State) -> State:
        return state  # its members are sorted as they move

    def fault(self, state: State) -> str:
        links = sorted(str(link) for link in state.committed)
        for one, other in combinations(links, 2):
            if not _one_chain(one, other):
                return f"{one} and {other} are committed"
        return ""

    def next(self, state: State) -> Iterator[tuple[str, State]]:
        yield from self._prepares(state)
        yield from self._commits(state)
        if state.view + 1 < self.views:
            yield from self._views(state)

    def _prepares(self, state: State) -> Iterator[tuple[str, State]]:
        used = _used(state)
        honest = self.lying_leaders is not None and state.view not in self.lying_leaders
        others = [str(link) for member in state.members for _, link in member.prepared]
        for at, member in enumerate(state.members):
            for link in self.blocks():
                block = (len(link), link)
                if block in member.prepared or not _first_free_name(link, used):
                    continue
                if honest and not all(_one_chain(link, other) for other in others):
                    continue
                if self.rules.may_prepare(
                    state.tips, member.prepared, block, link[:-1], state.committed
                ):
                    known = member.known
                    if not member.prepared and not self.rules.votes_in_the_past:
                        shown = [tip for tip in state.tips if link.startswith(str(tip[2]))]
                        known = max(known, min(shown or [NONE], key=rank), key=rank)
                    prepared = tuple(sorted({*member.prepared, block}))
                    moved = member._replace(known=known, prepared=prepared)
                    yield f"PREPARE {link}", self._with(state, at, moved)

    def _commits(self, state: State) -> Iterator[tuple[str, State]]:
        for link in sorted(self._prepared(state)):
            block = (len(link), link)
            for at, member in enumerate(state.members):
                if any(height == len(link) for height, _ in member.committed):
                    continue
                known = max(member.known, (state.view, *block), key=rank)
                if self.rules.votes_in_the_past:
                    known = member.known
                committed = tuple(sorted({*member.committed, block}))
                moved = member._replace(known=known, committed=committed)
                yield f"COMMIT {link}", self._with(state, at, moved)

    def _views(self, state: State) -> Iterator[tuple[str, State]]:
        new = {(state.view, len(link), link) for link in self._prepared(state)}
        certificates = state.certificates | new
        known = tuple(member.known for member in state.members)
        members = tuple(sorted(self._aged(member) for member in state.members))
        for tips in _tip_sets(self.rules, known, certificates, state.committed):
            shown = " ".join(sorted(str(tip) for tip in tips))
            yield (
                f"VIEW {state.view + 1} on {shown}",
                State(state.view + 1, tips, certificates, state.committed, members),
            )

    def _aged(self, member: Member) -> Member:
        rules = self.rules
        old_p = {*member.old_prepared, *member.prepared} if rules.mixes_prepares else ()
        old_c = {*member.old_committed, *member.committed} if rules.mixes_commits else ()
        return Member(member.known, (), (), tuple(sorted(old_p)), tuple(sorted(old_c)))

    def _prepared(self, state: State) -> set[str]:
        return _quorums(member.prepared + member.old_prepared for member in state.members)

    def _with(self, state: State, at: int, member: Member) -> State:
        members = tuple(sorted((*state.members[:at], member, *state.members[at + 1 :])))
        new = _quorums(member.committed + member.old_committed for member in members)
        return state._replace(members=members, committed=state.committed | new)


def _quorums(ballots: Iterable[tuple[Place, ...]]) -> set[str]:
    """Links with two honest votes: the liar's is the third."""
    votes = [str(link) for ballot in ballots for _, link in set(ballot)]
    return {link for link in votes if votes.count(link) >= 2}


def _one_chain(one: str, other: str) -> bool:
    return one.startswith(other) or other.startswith(one)


def _used(state: State) -> set[str]:
    links = {str(link) for *_, link in state.certificates} | {str(link) for link in state.committed}
    for member in state.members:
        for votes in (member.prepared, member.committed, member.old_prepared, member.old_committed):
            links.update(str(link) for _, link in votes)
    return {link[:end] for link in links for end in range(len(link) + 1)}


def _first_free_name(link: str, used: set[str]) -> bool:
    """Payloads are interchangeable: `b` on a parent only when `a` on it is in use."""
    return all(payload == "a" or link[:at] + "a" in used for at, payload in enumerate(link))


@lru_cache(maxsize=100_000)
def _tip_sets(
    rules: Rules,
    known: tuple[Certificate, ...],
    certificates: frozenset[Certificate],
    committed: frozenset[Link],
) -> list[frozenset[Certificate]]:
    """Tips that a leader may choose from, after any honest view changes; only the largest sets, for more tips allow more."""
    real = sorted(certificates, key=lambda certificate: (rank(certificate), str(certificate[2])))
    shows = [[each for each in real if rules.may_show(mine, each, committed)] for mine in known]
    found: set[frozenset[Certificate]] = set()
    for honest in product(*shows):
        quorums = [honest]
        quorums += [(*pair, lie) for pair in combinations(honest, 2) for lie in real]
        found.add(frozenset().union(*(rules.tips(quorum) for quorum in quorums)))
    largest = [tips for tips in found if not any(tips < other for other in found)]
    return sorted(largest, key=lambda tips: sorted(str(tip) for tip in tips))
