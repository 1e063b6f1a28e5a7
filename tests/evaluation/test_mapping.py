"""Labels and entities are brought together as the options say."""

from __future__ import annotations

import pytest

from safeproxy.evaluation.mapping import Group, asked_for, groups, parse_map, parse_maps
from safeproxy.evaluation.reading import DataError


def group(labels: str, entities: str) -> Group:
    """A group of names between spaces."""
    return Group(frozenset(labels.split()), frozenset(entities.split()))


def test_both_sides_may_have_several_names() -> None:
    """Spaces around names do not count."""
    assert parse_map("LOCATION, ADDRESS=LOC,STREET_ADDRESS") == group("LOCATION ADDRESS", "LOC STREET_ADDRESS")


@pytest.mark.parametrize("form", ["", "A", "=", "A=", "=B", "A,=B", "A=B,,C"])
def test_a_map_that_is_none_is_refused(form: str) -> None:
    """The message shows the form."""
    with pytest.raises(DataError, match="such as LOCATION,ADDRESS=LOC,STREET_ADDRESS"):
        parse_map(form)


def test_the_same_labels_twice_are_refused() -> None:
    """Otherwise one of the two would be lost."""
    with pytest.raises(DataError, match="A,B is mapped twice"):
        parse_maps(["A,B=C", "B,A=D"])


def test_labels_that_are_not_mapped_stand_for_themselves() -> None:
    """Maps come first, then the other labels; a map whose labels do not occur is left out."""
    maps = parse_maps(["A=X", "A,B=X,Y", "Z=X"])
    assert groups({"C", "A"}, maps) == (*maps[:2], group("C", "C"))


@pytest.mark.parametrize("name", ["A", "X", "Y", "A+B"])
def test_only_what_is_named_is_measured(name: str) -> None:
    """By label, by entity, or by the name in the table."""
    assert groups({"A", "C"}, parse_maps(["A,B=X,Y"]), [name]) == (group("A B", "X Y"),)


def test_what_no_label_has_can_be_asked_for() -> None:
    """By its own name, or through the map that names it."""
    maps = parse_maps(["A=X", "B=Y"])
    found = groups({"A"}, maps, ["A", "Y", "Z"])
    assert found == (group("A", "X"),)
    assert asked_for(["A", "Y", "Z"], maps, found) == (group("B", "Y"), group("Z", "Z"))
    assert asked_for([], maps, found) == ()


def test_entities_are_compared_without_case() -> None:
    """A file's category and a rule's entity differ in that; the labels are taken as they are."""
    one = group("threat", "threat")
    assert one.finds("THREAT")
    assert not one.finds("THREATS")
    assert one.name == "threat"
