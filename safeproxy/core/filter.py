"""One channel's filter: text in piece by piece, safe text out, findings on the side.

The filter holds the tail whose fate is open, unites findings that overlap, and applies their strongest
action. Detectors tell it what they found and how far their verdict is settled (their frontier); what lies
before the least frontier and before any undecided finding leaves at once.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from safeproxy.core.actions import stand_in
from safeproxy.core.detector import Detector, Extent, Span
from safeproxy.core.rule import DEFAULT_MAX_LENGTH, Rule
from safeproxy.core.ruleset import RuleSet
from safeproxy.errors import ConfigError
from safeproxy.events import Action, ChannelKind, Finding

#: A chain of overlapping findings longer than this is decided with what is known of it, in code points.
CHAIN_CEILING = DEFAULT_MAX_LENGTH
#: Observing rules hold nothing up, so they are told of the text in pieces of this many code points, which is cheaper.
WATCHED_AT_ONCE = 256


@dataclass(slots=True)
class _Cluster:
    """Findings that overlap, united into one span."""

    start: int
    end: int
    members: list[Span]
    open: dict[int, int] = field(default_factory=dict)
    """Rules whose match reached its ceiling and has not ended, and which member it is: the cluster has no end yet."""
    ceilings: dict[int, int] = field(default_factory=dict)
    """Members that reached their ceiling, and where that was."""
    applied: Action | None = None
    """What was carried out, once the stand-in has left; the cluster may still grow, silently."""

    def absorb(self, span: Span) -> None:
        """Take in a span that overlaps, or that closes an open member."""
        self.end = max(self.end, span.end)
        if span.extent is Extent.CLOSING:
            member = self.open.pop(span.rule)
            self.members[member] = self.members[member]._replace(end=span.end)
            return
        if span.extent is Extent.OPEN:
            self.open[span.rule] = len(self.members)
            self.ceilings[len(self.members)] = span.end
        self.members.append(span)

    def stop_at(self, position: int) -> None:
        """A halt begins there. How far members beyond their ceiling would have gone on may not be known: not told."""
        for member, ceiling in self.ceilings.items():
            span = self.members[member]
            if span.end > position or member in self.open.values():
                self.members[member] = span._replace(end=max(ceiling, position))

    def overlaps(self, span: Span) -> bool:
        return bool(self.open) or span.start < self.end

    def must_be_decided(self) -> bool:
        """Whether waiting longer would hold more than the ceiling allows."""
        return bool(self.open) or self.end - self.start > CHAIN_CEILING


class StreamFilter:
    """Filters one channel exactly as filtering its whole text at once would.

    >>> from safeproxy.rulesets import shipped
    >>> stream = StreamFilter(shipped())
    >>> stream.feed("Write to ada@exam") + stream.feed("ple.com today") + stream.finish()
    'Write to [EMAIL_ADDRESS] today'

    ``hash_key`` is needed by rules with the action ``hash``; ConfigError is raised here if it is missing.
    Findings go into the list ``findings`` if one is given, so that several filters can share it.
    After a halt (`halted` is true) nothing more is released.
    """

    __slots__ = (
        "_acting",
        "_base",
        "_buffer",
        "_cluster",
        "_edits",
        "_findings",
        "_hash_key",
        "_last_ends",
        "_observed",
        "_pending",
        "_rules",
        "_sole",
        "_unmet",
        "_unwatched",
        "_watching",
        "channel",
        "halted",
        "removed",
        "scanned",
    )

    def __init__(
        self,
        rules: RuleSet | Iterable[Rule],
        *,
        channel: str = "content",
        kind: ChannelKind = ChannelKind.CONTENT,
        hash_key: bytes | None = None,
        findings: list[Finding] | None = None,
    ) -> None:
        ruleset = rules if isinstance(rules, RuleSet) else RuleSet(rules)
        if hash_key is None and ruleset.needs_hash_key:
            raise ConfigError("a rule has the action 'hash' or 'encrypt', which needs a hash key; none is configured")
        self._rules = ruleset.rules
        self._acting: tuple[Detector, ...] = ruleset.acting_detectors(kind)
        self._watching: tuple[Detector, ...] = ruleset.watching_detectors(kind)
        self._sole = self._acting[0] if len(self._acting) == 1 else None
        self._hash_key = hash_key
        self._buffer = ""
        self._base = 0  # position of the buffer's first code point
        self._pending: list[Span] = []
        self._observed: list[Span] = []  # of rules that only observe, found by detectors that also serve others
        self._last_ends: dict[str, int] = {}  # by entity, where the last finding of it ends that does something
        self._unmet: set[int] = set()  # rules whose open span does not count
        self._cluster: _Cluster | None = None
        self._findings = [] if findings is None else findings
        self._edits: list[tuple[int, int]] = []
        self._unwatched = ""  # what the observing detectors have not been told yet
        self.channel = channel
        self.halted = False
        self.scanned = 0
        self.removed = 0

    @property
    def held(self) -> int:
        """Code points whose fate is still open."""
        return 0 if self.halted else len(self._buffer)

    @property
    def released(self) -> int:
        """Position in the original text before which everything is decided and delivered."""
        return self._base

    def take_findings(self) -> list[Finding]:
        """The findings since the last call, in order of position; observed ones may come later."""
        taken = self._findings[:]
        self._findings.clear()
        return taken

    def take_edits(self) -> list[tuple[int, int]]:
        """The spans replaced since the last call, half open, in the original text."""
        taken, self._edits = self._edits, []
        return taken

    def feed(self, text: str) -> str:
        """Take the next piece of the channel; give what may be sent now.

        Raises DetectorError when a detector breaks; the filter must then not be fed again.
        """
        if self.halted:
            return ""
        self.scanned += len(text)
        self._buffer += text
        sole = self._sole
        if sole is not None:
            spans = sole.feed(text)
            if not spans and not self._pending and self._cluster is None:
                # The common case, a clean piece: nothing to unite, hand out what is settled.
                frontier = sole.frontier
                count = frontier - self._base
                if count <= 0:
                    return ""
                buffer = self._buffer
                self._base = frontier
                self._buffer = buffer[count:]
                out = buffer[:count]
                if self._watching:
                    self._watch(out)
                return out
            self._add(spans)
            return self._resolve(sole.frontier, sole.frontier)
        for detector in self._acting:
            self._add(detector.feed(text))
        frontier = min((detector.frontier for detector in self._acting), default=self.scanned)
        return self._resolve(frontier, frontier)

    def finish(self) -> str:
        """The channel's text has ended; give the rest."""
        if self.halted:
            return ""
        for detector in self._acting:
            self._add(detector.finish())
        out = self._resolve(self.scanned, self.scanned + 1)
        if not self.halted:
            self._finish_watching()
        return out

    def _add(self, spans: Sequence[Span]) -> None:
        for span in spans:
            observed = self._rules[span.rule].action is Action.OBSERVE
            insort(self._observed if observed else self._pending, span)

    def _resolve(self, frontier: int, ordered: int) -> str:
        """Decide every cluster that nothing later can touch, in order of position.

        Findings that start before ``ordered`` are all known, so they can be united in order of their
        start: that order, not the time they were found, decides what a chain that grows past the
        ceiling is made of.
        """
        out = []
        while not self.halted:
            if self._cluster is None:
                span = self._next(ordered)
                if span is None:
                    out.append(self._release(frontier))
                    break
                out.append(self._release(span.start))
                self._cluster = _Cluster(self._base, self._base, [])
                self._take_into(self._cluster)
            out.append(self._grow(self._cluster, ordered))
            if self.halted or not self._close(self._cluster, frontier, out):
                break
        if self._observed:
            self._report_observed(self._base)
        return "".join(out)

    def _next(self, ordered: int) -> Span | None:
        """The first finding that counts and starts before ``ordered``; those before it that do not are dropped."""
        pending = self._pending
        while pending and pending[0].start < ordered:
            if self._counts(pending[0]):
                return pending[0]
            pending.pop(0)
        return None

    def _counts(self, span: Span) -> bool:
        """Whether what the span must come after has come: all findings that start before it are known."""
        after = self._rules[span.rule].after
        if after is None:
            return True
        if span.extent is Extent.CLOSING:
            if span.rule not in self._unmet:
                return True
            self._unmet.discard(span.rule)
            return False
        ends = (self._last_ends[entity] for entity in after.entities if entity in self._last_ends)
        met = any(span.start - end <= after.within for end in ends)
        if not met and span.extent is Extent.OPEN:
            self._unmet.add(span.rule)
        return met

    def _take_into(self, cluster: _Cluster) -> Span:
        """Move the first pending finding into the cluster."""
        span = self._pending.pop(0)
        cluster.absorb(span)
        entity = self._rules[span.rule].entity
        self._last_ends[entity] = max(span.end, self._last_ends.get(entity, 0))
        return span

    def _report_observed(self, upto: int) -> None:
        """Tell of what was only observed before ``upto``: further on, a halt may still hide it."""
        self._observe(span for span in self._observed if span.end <= upto)
        self._observed = [span for span in self._observed if span.end > upto]

    def _grow(self, cluster: _Cluster, ordered: int) -> str:
        """Take in the pending findings that overlap; give the stand-in if it has to leave early."""
        out = self._decide(cluster) if cluster.applied is None and cluster.must_be_decided() else ""
        while not self.halted and (span := self._next(ordered)) is not None and cluster.overlaps(span):
            span = self._take_into(cluster)
            if cluster.applied is None:
                if cluster.must_be_decided():
                    out += self._decide(cluster)
            elif self._rules[span.rule].action is Action.HALT:
                self._drop(span.start)
                cluster.stop_at(span.start)
                cluster.applied = Action.HALT
                self._halt(cluster)
        return out

    def _close(self, cluster: _Cluster, frontier: int, out: list[str]) -> bool:
        """Finish the cluster if nothing can join it any more; drop what is settled of it."""
        settled = not cluster.open and cluster.end <= frontier
        if cluster.applied is None:
            if not settled:
                return False
            out.append(self._decide(cluster))
            if self.halted:
                return False
        self._drop(frontier if cluster.open else min(frontier, cluster.end))
        if settled:
            self._report(cluster)
            self._cluster = None
        return settled

    def _decide(self, cluster: _Cluster) -> str:
        """Carry out the cluster's strongest action; give its stand-in."""
        winner = max(cluster.members, key=self._rank)
        rule = self._rules[winner.rule]
        cluster.applied = rule.action
        if rule.action is Action.HALT:
            self._halt(cluster)
            return ""
        if cluster.must_be_decided():
            return rule.stand_in  # nobody knows yet what is to be masked or hashed
        text = self._buffer[: cluster.end - self._base]
        return stand_in(rule, rule.action, text, self._hash_key)

    def _rank(self, span: Span) -> tuple[int, int, int]:
        rule = self._rules[span.rule]
        return rule.action.strength, rule.severity, -span.rule

    def _halt(self, cluster: _Cluster) -> None:
        """Nothing from here on leaves."""
        self.halted = True
        if self._watching:
            self._finish_watching()
        if self._observed:
            self._report_observed(self._base)
            self._observed.clear()
        self._report(cluster)
        self.removed += len(self._buffer)
        self._base += len(self._buffer)
        self._buffer = ""
        self._pending.clear()

    def _report(self, cluster: _Cluster) -> None:
        assert cluster.applied is not None
        self._edits.append((cluster.start, cluster.end))
        for member in sorted(cluster.members):
            self._findings.append(self._finding(member, cluster.applied))

    def _finding(self, span: Span, applied: Action) -> Finding:
        rule = self._rules[span.rule]
        return Finding(
            rule=rule.id,
            entity=rule.entity,
            category=rule.category,
            severity=rule.severity,
            action=rule.action,
            applied=applied,
            channel=self.channel,
            start=span.start,
            end=span.end,
            score=span.score,
        )

    def _release(self, upto: int) -> str:
        """Hand out the text before ``upto`` as it is."""
        count = upto - self._base
        if count <= 0:
            return ""
        out = self._buffer[:count]
        self._buffer = self._buffer[count:]
        self._base = upto
        if self._watching:
            self._watch(out)
        return out

    def _drop(self, upto: int) -> None:
        """Remove the text before ``upto``."""
        before = self._base
        self._release(upto)
        self.removed += self._base - before

    def _watch(self, text: str) -> None:
        """Tell the observing detectors the original of what was decided: a halt hides the rest from them too."""
        self._unwatched += text
        if len(self._unwatched) >= WATCHED_AT_ONCE:
            self._tell_watching()

    def _tell_watching(self) -> None:
        text, self._unwatched = self._unwatched, ""
        for detector in self._watching:
            self._observe(detector.feed(text))

    def _finish_watching(self) -> None:
        self._tell_watching()
        for detector in self._watching:
            self._observe(detector.finish())

    def _observe(self, spans: Iterable[Span]) -> None:
        for span in sorted(spans):
            if span.extent is not Extent.CLOSING:
                self._findings.append(self._finding(span, Action.OBSERVE))
