"""Holds PBFT engines to the specification: each signed statement must be one that `Rules` allows, given what was said before.

Liars are not held to anything, and whatever they may have signed counts as signed. A watcher that sees only honest members (`unseen`)
takes any f others for liars, and learns the root from the first vote on it. A statement counts from the moment at which it is
durable at its signer, whether a crash kept it from leaving or not. Not here: who signed (the tests' keys are right), liveness.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tallystick.consensus.api import Block
from tallystick.consensus.pbft.messages import MESSAGE, Decided, NewView, Proposal, ViewChange, Vote
from tallystick.network.proofs.certificates import Certificate as Shown
from tallystick.network.proofs.certificates import quorum_of
from tallystick.network.wire.signing import Phase
from tests.spec.pbft_spec import NONE, Certificate, Link, Place, Rules, rank


class NotAllowed(AssertionError):
    """An honest member said what the specification does not allow."""


@dataclass(slots=True)
class Witness:
    members: int
    root: bytes | None
    describe: Callable[[bytes], Block | None]
    liars: frozenset[int] = frozenset()
    unseen: int = 0
    """So many members may lie, and nobody says which, nor what."""
    rules: Rules = field(default_factory=Rules)
    statements: int = 0
    _said: set[tuple[int, bytes]] = field(default_factory=set)
    _votes: dict[tuple[int, int, int, Link], set[int]] = field(default_factory=dict)
    """(phase, view, height, link) → honest signers."""
    _places: dict[tuple[int, int, int, int], Link] = field(default_factory=dict)
    """(signer, phase, view, height) → link; phase 0 is a proposal."""
    _prepared: dict[tuple[int, int], tuple[Place, ...]] = field(default_factory=dict)
    _left: dict[int, int] = field(default_factory=dict)
    _known: dict[int, Certificate] = field(default_factory=dict)
    _shown: dict[tuple[int, int], set[Certificate | None]] = field(default_factory=dict)
    """(signer, view) → what its view changes showed; None for nothing, whether the root was known by then or not."""
    _tips: dict[int, set[Certificate]] = field(default_factory=dict)
    _opened_honestly: set[int] = field(default_factory=set)
    """Views whose own leader was heard to open them: what others pass on may be one of a liar's several new views."""
    _parents: dict[Link, Link] = field(default_factory=dict)
    _committed: dict[Link, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.root is not None:
            self._committed[self.root] = 0
        self._tips[0] = {self._none}

    @property
    def _none(self) -> Certificate:
        return NONE[0], NONE[1], self.root or b""

    def said(self, signer: int, data: bytes) -> None:
        """A message that is durable at its signer, or is on its way from a liar. Raises `NotAllowed`."""
        if (signer, data) in self._said:
            return  # whatever was said may be said again
        message = MESSAGE.decode(data)
        if isinstance(message, NewView):
            self._opened(signer, message)
        elif isinstance(message, ViewChange):
            self._leaves(signer, message)
        elif signer in self.liars:
            return
        elif isinstance(message, Proposal):
            self._proposed(signer, message)
        elif isinstance(message, Vote):
            self._voted(signer, message)
        elif isinstance(message, Decided):
            self._hold(self._real(message.certificate), signer, "shows a decision that is none")
        self._said.add((signer, data))
        self.statements += 1

    # -- votes ---------------------------------------------------------------------------------------------------------

    def _proposed(self, signer: int, message: Proposal) -> None:
        block = self.describe(message.block)
        if block is None:
            raise NotAllowed(f"member {signer} proposes what is no block")
        self._hold(message.view % self.members == signer, signer, "proposes in another's view")
        self._once(signer, 0, message.view, block.height, block.link)

    def _voted(self, signer: int, vote: Vote) -> None:
        view, block = vote.view, (vote.height, vote.link)
        if self.root is None and vote.height == 1:
            self.root = vote.parent_link
            self._committed[self.root] = 0
        self._once(signer, vote.phase, view, *block)
        self._parents.setdefault(vote.link, vote.parent_link)
        if vote.phase == Phase.PREPARE:
            before = self._prepared.get((signer, view), ())
            self._learn_tip(view, before, vote)
            tips = self._tips.get(view, set())
            allowed = self.rules.may_prepare(tips, before, block, vote.parent_link, self._committed)
            self._hold(allowed, signer, f"PREPAREs height {vote.height} in view {view} out of turn")
            if not before and tips:
                self._knows(signer, min(tips, key=rank))
            self._prepared[signer, view] = (*before, block)
        else:
            certified = self._supported(Phase.PREPARE, view, *block)
            self._hold(certified, signer, f"COMMITs what view {view} did not prepare")
            self._knows(signer, (view, *block))
        self._votes.setdefault((vote.phase, view, *block), set()).add(signer)
        if vote.phase == Phase.COMMIT and self._supported(Phase.COMMIT, view, *block):
            self._commit(vote.height, vote.link)

    def _learn_tip(self, view: int, before: tuple[Place, ...], vote: Vote) -> None:
        """A liar shows each member another new view, and nobody else hears of it: any certified tip may have been in it."""
        if before or view == 0 or not (self.unseen or view % self.members in self.liars):
            return
        if view in self._opened_honestly:
            return
        for earlier in range(view):
            if self._supported(Phase.PREPARE, earlier, vote.height, vote.link):
                self._tips.setdefault(view, set()).add((earlier, vote.height, vote.link))
        if vote.parent_link in self._committed:
            # Upon the root nobody has a certificate: whoever saw that tip knows none.
            upon = (0, vote.height - 1, vote.parent_link) if vote.height > 1 else self._none
            self._tips.setdefault(view, set()).add(upon)

    def _once(self, signer: int, phase: int, view: int, height: int, link: Link) -> None:
        known = self._places.setdefault((signer, phase, view, height), link)
        self._hold(known == link, signer, f"signs two blocks for height {height} of view {view}")
        left = self._left.get(signer, 0)
        self._hold(view >= left, signer, f"signs in view {view} after it left for {left}")

    def _supported(self, phase: int, view: int, height: int, link: Link) -> bool:
        honest = self._votes.get((phase, view, height, link), set())
        return len(honest) + len(self.liars) + self.unseen >= quorum_of(self.members)

    def prepared_before(self, signer: int, view: int, height: int, link: bytes) -> None:
        """A PREPARE that became durable, and that a crash kept from leaving: the next one follows it."""
        before = self._prepared.get((signer, view), ())
        if (height, link) not in before:
            self._prepared[signer, view] = (*before, (height, link))

    def _commit(self, height: int, link: Link) -> None:
        at: Link | None = link
        while at is not None and at not in self._committed:
            for other, place in self._committed.items():
                self._hold(place != height, None, f"{other!r} and {at!r} commit at height {height}")
            self._committed[at] = height
            at, height = self._parents.get(at), height - 1

    # -- views ---------------------------------------------------------------------------------------------------------

    def _leaves(self, signer: int, message: ViewChange) -> None:
        certificate = self._of(message.certificate)
        if message.signer != signer and signer not in self.liars:
            raise NotAllowed(f"member {signer} says a view change of {message.signer}")
        self._shown.setdefault((message.signer, message.view), set()).add(self._maybe(message))
        if signer in self.liars:
            return
        real = message.certificate is None or self._real(message.certificate)
        self._hold(real, signer, "shows a certificate that is none")
        self._hold(certificate[0] < message.view, signer, "shows a certificate of a later view")
        known = self._known.get(signer, self._none)
        enough = self.rules.may_show(known, certificate, self._committed)
        self._hold(enough, signer, f"knows {known[:2]} and shows {certificate[:2]}")
        left = self._left.get(signer, 0)
        self._hold(message.view > left, signer, f"leaves for {message.view} after {left}")
        self._left[signer] = message.view

    def _opened(self, signer: int, message: NewView) -> None:
        view = message.view
        shown = [(change.signer, self._of(change.certificate)) for change in message.changes]
        enough = len({node for node, _ in shown}) >= quorum_of(self.members)
        unsaid = [
            change.signer
            for change in message.changes
            if change.signer not in self.liars
            and self._maybe(change) not in self._shown.get((change.signer, view), set())
        ]
        if signer in self.liars and (not enough or unsaid or view % self.members != signer):
            return  # nobody enters a view by this
        self._hold(enough, signer, "opens a view with too few")
        self._hold(
            len(unsaid) <= self.unseen, signer, f"shows view changes that {unsaid} never signed"
        )
        self._tips.setdefault(view, set()).update(self.rules.tips([each for _, each in shown]))
        if signer == view % self.members and signer not in self.liars:
            self._opened_honestly.add(view)

    def _maybe(self, change: ViewChange) -> Certificate | None:
        return None if change.certificate is None else self._of(change.certificate)

    def _of(self, certificate: Shown | None) -> Certificate:
        if certificate is None:
            return self._none
        return certificate.view, certificate.height, certificate.link

    def _real(self, certificate: Shown) -> bool:
        return self._supported(certificate.phase, *self._of(certificate))

    def _knows(self, signer: int, certificate: Certificate) -> None:
        self._known[signer] = max(self._known.get(signer, self._none), certificate, key=rank)

    def _hold(self, allowed: bool, signer: int | None, what: str) -> None:
        if not allowed:
            raise NotAllowed(what if signer is None else f"member {signer} {what}")
