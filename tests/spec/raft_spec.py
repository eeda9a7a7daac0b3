"""Raft's log and elections as an explicit relation (Ongaro's thesis, sections 3.3 to 3.6): what a member may do, given what was said.

`Rules` is the protocol, one method or switch per rule; a weakened rule is a subclass, and `search` must then find two entries
committed at one height. `raft_witness` holds real engines to the same rules.

Why the state is small. An entry is named by (height, term): a term has one leader, so a log is the tuple of its terms. What a leader
ever sent in its term is a slice of the longest log it had there, with a commit index up to its last one; votes and acknowledgements
of a term only grow. So messages are not kept: whatever follows from these histories may still arrive, late, twice or never. A crash
needs no action of its own: what it forgets (leadership, the commit index), a member may simply never use again.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

Log: TypeAlias = tuple[int, ...]
"""The term of each entry, from height 1 on."""


def last_of(log: Log) -> tuple[int, int]:
    return (log[-1] if log else 0), len(log)


class Rules:
    """The protocol as written."""

    votes_again = False
    """A vote that was not on the disk is forgotten, and given a second time."""
    acknowledges_its_whole_log = False
    hint_is_match = False
    """A rejection moves the match index to its hint."""

    def may_lead(self, candidate: tuple[int, int], voter: tuple[int, int]) -> bool:
        """(last term, length): the candidate's log is at least as complete."""
        return candidate >= voter

    def may_count(self, entry_term: int, term: int) -> bool:
        """A leader commits by counting only entries of its own term; older ones are committed through them."""
        return entry_term == term

    def commit_limit(self, met: int, length: int) -> int:
        """How far a follower follows the leader's commit index: no further than its log is known to be the leader's."""
        return met

    def taken(self, log: Log, prev: int, entries: Log) -> Log:
        """The follower's log after an append that fits: only a conflict truncates."""
        end = prev + len(entries)
        if log[prev:end] == entries:
            return log
        return log[:prev] + entries


class AnyLogMayLead(Rules):
    def may_lead(self, candidate: tuple[int, int], voter: tuple[int, int]) -> bool:
        return True


class CountsEntriesOfOlderTerms(Rules):
    def may_count(self, entry_term: int, term: int) -> bool:
        return True


class CommitIndexPastTheAppend(Rules):
    def commit_limit(self, met: int, length: int) -> int:
        return length


class TruncatesOnEveryAppend(Rules):
    def taken(self, log: Log, prev: int, entries: Log) -> Log:
        return log[:prev] + entries


class VoteNotPersisted(Rules):
    votes_again = True


class AcknowledgesItsWholeLog(Rules):
    acknowledges_its_whole_log = True


class HintIsMatch(Rules):
    hint_is_match = True


class Member(NamedTuple):
    term: int = 0
    log: Log = ()
    commit: int = 0


class Term(NamedTuple):
    """What happened in one term."""

    asks: tuple[tuple[int, int] | None, ...]
    """Each candidate's last entry, when it stood."""
    votes: tuple[tuple[int, ...], ...]
    """For each voter: whom it voted for."""
    leader: int | None = None
    log: Log = ()
    commit: int = 0
    matches: tuple[int, ...] = ()


class State(NamedTuple):
    members: tuple[Member, ...]
    terms: tuple[Term, ...]
    settled: Log = ()
    """The longest log that anybody knew to be committed."""


@dataclass(frozen=True)
class World:
    rules: Rules = field(default_factory=Rules)
    members: int = 3
    terms: int = 2
    entries: int = 2
    after: tuple[str, ...] = ()
    """Actions, by name, that were played before the search begins: a prelude makes a deep play cheap."""

    @property
    def majority(self) -> int:
        return self.members // 2 + 1

    def start(self) -> State:
        empty = Term((None,) * self.members, ((),) * self.members)
        state = State((Member(),) * self.members, (empty,) * self.terms)
        for name in self.after:
            state = dict(self.next(state))[name]
        return state

    def next(self, state: State) -> Iterator[tuple[str, State]]:
        for node in range(self.members):
            yield from self._stand(state, node)
            yield from self._lead(state, node)
        for term, said in enumerate(state.terms, 1):
            for node, ask in enumerate(said.asks):
                if ask is not None:
                    yield from self._vote(state, term, node, ask)
            if said.leader is not None:
                yield from self._propose(state, term, said)
                yield from self._commit(state, term, said)
                yield from self._append(state, term, said)

    def _stand(self, state: State, node: int) -> Iterator[tuple[str, State]]:
        member = state.members[node]
        term = member.term + 1
        if term <= self.terms:
            said = state.terms[term - 1]
            said = said._replace(
                asks=_put(said.asks, node, last_of(member.log)),
                votes=_put(said.votes, node, (node,)),
            )
            yield (
                f"{node} stands in {term}",
                self._moved(state, node, member._replace(term=term), term, said),
            )

    def _vote(
        self, state: State, term: int, node: int, ask: tuple[int, int]
    ) -> Iterator[tuple[str, State]]:
        for voter, member in enumerate(state.members):
            said = state.terms[term - 1]
            given = said.votes[voter]
            free = not given or (self.rules.votes_again and node not in given)
            complete = self.rules.may_lead(ask, last_of(member.log))
            if voter != node and member.term <= term and free and complete:
                said = said._replace(votes=_put(said.votes, voter, (*given, node)))
                yield (
                    f"{voter} votes for {node} in {term}",
                    self._moved(state, voter, member._replace(term=term), term, said),
                )

    def _lead(self, state: State, node: int) -> Iterator[tuple[str, State]]:
        member = state.members[node]
        if not member.term:
            return
        said = state.terms[member.term - 1]
        won = sum(node in votes for votes in said.votes) >= self.majority
        if won and said.asks[node] is not None and said.leader is None:
            matches = tuple(len(member.log) if at == node else 0 for at in range(self.members))
            said = said._replace(leader=node, log=member.log, commit=member.commit, matches=matches)
            yield f"{node} leads {member.term}", self._moved(state, node, member, member.term, said)

    def _propose(self, state: State, term: int, said: Term) -> Iterator[tuple[str, State]]:
        node = said.leader
        if node is None or state.members[node].term != term or len(said.log) >= self.entries:
            return
        log = (*said.log, term)
        said = said._replace(log=log, matches=_put(said.matches, node, len(log)))
        yield (
            f"{node} proposes {len(log)} in {term}",
            self._moved(state, node, state.members[node]._replace(log=log), term, said),
        )

    def _commit(self, state: State, term: int, said: Term) -> Iterator[tuple[str, State]]:
        node = said.leader
        if node is None or state.members[node].term != term:
            return
        index = sorted(said.matches, reverse=True)[self.majority - 1]
        if index > said.commit and self.rules.may_count(said.log[index - 1], term):
            member = state.members[node]._replace(commit=index)
            yield (
                f"{node} commits {index} in {term}",
                self._moved(state, node, member, term, said._replace(commit=index)),
            )

    def _append(self, state: State, term: int, said: Term) -> Iterator[tuple[str, State]]:
        """Any slice that the leader may ever have sent in its term arrives at somebody. A smaller commit index allows less."""
        for node, member in enumerate(state.members):
            if node == said.leader or member.term > term:
                continue
            for prev in range(len(said.log) + 1):
                for end in range(prev, len(said.log) + 1):
                    yield from self._arrives(state, term, said, node, prev, end)

    def _arrives(
        self, state: State, term: int, said: Term, node: int, prev: int, end: int
    ) -> Iterator[tuple[str, State]]:
        rules, member = self.rules, state.members[node]
        name = f"{node} hears {prev}+{end - prev} of {term}"
        if member.log[:prev][-1:] != said.log[:prev][-1:] or len(member.log) < prev:
            if rules.hint_is_match:
                hint = min(len(member.log), prev - 1)
                said = said._replace(matches=_put(said.matches, node, hint))
            yield name, self._moved(state, node, member._replace(term=term), term, said)
            return
        log = rules.taken(member.log, prev, said.log[prev:end])
        match = len(log) if rules.acknowledges_its_whole_log else end
        match = min(match, len(said.log))
        said = said._replace(matches=_put(said.matches, node, max(said.matches[node], match)))
        committed = max(member.commit, min(said.commit, rules.commit_limit(end, len(log))))
        yield name, self._moved(state, node, Member(term, log, committed), term, said)

    def _moved(self, state: State, node: int, member: Member, term: int, said: Term) -> State:
        settled = member.log[: member.commit]
        if len(settled) <= len(state.settled):
            settled = state.settled
        return State(_put(state.members, node, member), _put(state.terms, term - 1, said), settled)

    def fault(self, state: State) -> str:
        for node, member in enumerate(state.members):
            known = member.log[: member.commit]
            if known != state.settled[: len(known)] or len(known) < member.commit:
                return f"member {node} has committed {known}, somebody {state.settled}"
        for term, said in enumerate(state.terms, 1):
            elected = [
                node
                for node in range(self.members)
                if sum(node in votes for votes in said.votes) >= self.majority
            ]
            if len(elected) > 1:
                return f"{elected} are both elected in term {term}"
            for node, match in enumerate(said.matches):
                member = state.members[node]
                if member.term == term and member.log[:match] != said.log[:match]:
                    return f"member {node} does not match the leader of term {term} up to {match}"
        return ""

    def canonical(self, state: State) -> State:
        """Members are interchangeable: sorted by what they did. A tie may leave two names of one state, which costs time only."""
        order = sorted(range(self.members), key=lambda node: _deeds(state, node))
        return _renamed(state, order)


def _deeds(state: State, node: int) -> tuple[object, ...]:
    per_term = tuple(
        (
            said.asks[node] or (-1, -1),
            said.leader == node,
            said.matches[node] if said.matches else -1,
            len(said.votes[node]),
            node in said.votes[node],
            sum(node in votes for votes in said.votes),
        )
        for said in state.terms
    )
    return state.members[node], per_term


def _put(row: tuple, at: int, value: object) -> tuple:  # type: ignore[type-arg]
    return (*row[:at], value, *row[at + 1 :])


def _renamed(state: State, order: list[int]) -> State:
    to = {old: new for new, old in enumerate(order)}
    terms = tuple(
        Term(
            tuple(said.asks[old] for old in order),
            tuple(tuple(sorted(to[node] for node in said.votes[old])) for old in order),
            None if said.leader is None else to[said.leader],
            said.log,
            said.commit,
            tuple(said.matches[old] for old in order) if said.matches else (),
        )
        for said in state.terms
    )
    return State(tuple(state.members[old] for old in order), terms, state.settled)
