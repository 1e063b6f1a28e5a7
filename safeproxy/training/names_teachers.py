"""Labels for texts without labels, by two taggers: where they agree there is a name, elsewhere nothing may be known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from spacy.language import Language
from spacy.tokens import Doc

from safeproxy.training.corpus import LABELS, UNCLEAR, Text, disjoint
from safeproxy.training.names_gazetteer import known_names

Span = tuple[int, int, str]

OF_SPACY = {"PERSON": "PERSON", "GPE": "LOC", "LOC": "LOC", "FAC": "LOC", "ORG": "ORG"}
"""Our labels for those of OntoNotes, which spaCy's English pipelines have."""

_NO_NAMES = frozenset(["CARDINAL", "DATE", "MONEY", "ORDINAL", "PERCENT", "QUANTITY", "TIME"])


def agreed(texts: Sequence[Text], one: Language, two: Language) -> Iterator[Text]:
    """The texts with the names on which both agree; what one alone finds, or what looks like a name, is unclear."""
    contents = [text.text for text in texts]
    for text, a, b in zip(texts, one.pipe(contents, batch_size=256), two.pipe(contents, batch_size=256), strict=True):
        yield replace(text, spans=consensus(a, b))


def consensus(one: Doc, two: Doc) -> tuple[Span, ...]:
    """The names in both, as the second has them, and unclear stretches where a name may be."""
    first, second = spans_of(one), spans_of(two)
    sure = [span for span in second if any(_meet(span, other) and span[2] == other[2] != UNCLEAR for other in first)]
    unsure = [(start, end, UNCLEAR) for start, end, _ in [*first, *second, *_looks_like_a_name(two)]]
    return disjoint([*sure, *(span for span in unsure if not any(_meet(span, name) for name in sure))])


def spans_of(doc: Doc) -> list[Span]:
    """The entities with our labels; those of labels which are neither ours nor numbers are unclear."""
    ours = OF_SPACY | {label: label for label in LABELS}
    return [(e.start_char, e.end_char, ours.get(e.label_, UNCLEAR)) for e in doc.ents if e.label_ not in _NO_NAMES]


def _looks_like_a_name(doc: Doc) -> Iterator[Span]:
    for token in doc:
        known = token.text.title() in known_names() and (token.is_lower or token.is_title)
        if not token.is_stop and (known or (token.is_title and token.i > 0)):
            yield token.idx, token.idx + len(token), UNCLEAR


def _meet(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]
