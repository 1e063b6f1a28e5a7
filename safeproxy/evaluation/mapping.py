"""What is compared with what: the file's labels on one side, the entities of rules and models on the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from safeproxy.evaluation.reading import DataError

_FORM = "expected LABEL[,LABEL...]=ENTITY[,ENTITY...], such as LOCATION,ADDRESS=LOC,STREET_ADDRESS"


@dataclass(frozen=True, slots=True)
class Group:
    """Labels and entities that count as one: a finding of any of the entities answers to a span of any of the labels.

    ``labels`` are compared as they are, ``entities`` without regard to case: the category ``threat`` of a file answers
    to the entity ``THREAT`` of a rule.
    """

    labels: frozenset[str]
    entities: frozenset[str]

    @property
    def name(self) -> str:
        """The labels, with plus signs between them."""
        return "+".join(sorted(self.labels))

    def finds(self, entity: str) -> bool:
        """Whether what is found under this name answers to the group."""
        return entity.casefold() in {name.casefold() for name in self.entities}

    def involves(self, name: str) -> bool:
        """Whether ``name`` is the group's own, one of its labels or one of its entities."""
        return name == self.name or name in self.labels or name in self.entities


def parse_map(form: str) -> Group:
    """The group that an option such as ``LOCATION,ADDRESS=LOC,STREET_ADDRESS`` means; raises DataError if none."""
    left, equals, right = form.partition("=")
    sides = [frozenset(name.strip() for name in side.split(",")) for side in (left, right)]
    if not equals or any("" in side for side in sides):
        raise DataError(f"--map {form!r}: {_FORM}")
    return Group(sides[0], sides[1])


def parse_maps(forms: Iterable[str]) -> tuple[Group, ...]:
    """The groups of several such options; raises DataError if two have the same labels."""
    groups: dict[frozenset[str], Group] = {}
    for group in map(parse_map, forms):
        if group.labels in groups:
            raise DataError(f"--map: {','.join(sorted(group.labels))} is mapped twice; give all entities in one option")
        groups[group.labels] = group
    return tuple(groups.values())


def groups(labels: Iterable[str], maps: Sequence[Group], only: Sequence[str] = ()) -> tuple[Group, ...]:
    """The groups to be measured where ``labels`` occur: the mapped ones, and each other label by its own name.

    With ``only``, those in which a name of it is involved.
    """
    present = set(labels)
    mapped = set().union(*(group.labels for group in maps))
    found = [group for group in maps if group.labels & present] + [_alone(label) for label in sorted(present - mapped)]
    return tuple(group for group in found if not only or any(group.involves(name) for name in only))


def asked_for(names: Sequence[str], maps: Sequence[Group], found: Sequence[Group]) -> tuple[Group, ...]:
    """The groups for names that are involved in none of ``found``: mapped ones, or one of the name alone.

    So what should find nothing can be measured on texts without such a label.
    """
    missing = [name for name in names if not any(group.involves(name) for group in found)]
    mapped = [group for group in maps if any(group.involves(name) for name in missing)]
    return (*mapped, *(_alone(name) for name in missing if not any(group.involves(name) for group in mapped)))


def _alone(name: str) -> Group:
    return Group(frozenset([name]), frozenset([name]))
