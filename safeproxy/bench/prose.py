"""Clean English prose for the benchmark, and the ways to cut it. No shipped rule finds anything in it."""

from __future__ import annotations

import re

#: Nearly 5,000 characters of varied prose: narration, explanation, lists, quoted speech, figures, a little code.
PROSE = """\
The lighthouse at the end of the bay was built of grey stone, and on calm evenings its lamp could be seen from \
villages that no longer kept boats. Marta had come to paint it. She stayed for eleven years, mostly because the \
light was never the same twice, and partly because the baker kept forgetting that she was a stranger.

To understand why bread rises, it helps to think of the dough as a crowd of small balloons. Yeast eats the sugars \
that enzymes set free from the starch; it gives off carbon dioxide, and the gas has nowhere to go. Gluten, the \
stretchy network that forms when flour meets water, holds the bubbles in place. If the network is weak, they merge \
and escape; if it is too tight, they cannot grow. A good baker feels the difference with two fingers.

There are four things worth checking before a long journey by bicycle:

1. The tyres. Press the side with a thumb; if it gives, add air.
2. The chain. It should be clean enough to touch without regret.
3. The brakes. Squeeze both levers and try to push the wheel forward.
4. The weather. Nothing ruins a plan like a head wind that was forecast.

"You might have told me," said the captain, without looking up from the chart. "I did," said the navigator. \
"Twice. The second time you were singing." Nobody laughed, although several of them wanted to. Outside, the fog \
had thickened until the bow of the ship was only an idea.

In 1854 a doctor in London marked the homes of the sick on a map of the district, and saw that they gathered \
around a single water pump. The handle was taken away, and the outbreak, which had already begun to fade, ended. \
What makes the story last is not the pump but the map: it turned a rumour into something that could be argued about, \
measured, and shown to be wrong.

A sorting algorithm that always splits its input in the middle needs about n log n comparisons. For a thousand \
items that is roughly 10,000 steps; for a million, close to 20,000,000. The difference between that and the simple \
method, which compares every pair, is the difference between a blink and a lunch break. Here is the heart of it:

    def merge(left, right):
        result = []
        while left and right:
            source = left if left[0] <= right[0] else right
            result.append(source.pop(0))
        return result + left + right

Rivers do not run straight for long. On flat ground the smallest bend makes the outer bank wear away faster than \
the inner one, because the water there has farther to go and hurries. The bend grows; after some centuries the loop \
is so round that a flood cuts through its neck, and the old curve is left behind as a still, crescent-shaped lake.

The committee met on Thursday and could agree on three points only: the roof leaked, the budget was 4.5 % smaller \
than last year's, and the piano should stay. As for the rest (the curtains, the heating, the question of who had \
been feeding the cat), a smaller group would report by the end of the month. It's not clear whether they'll manage; \
they've never managed before.

Most languages have words that refuse to be translated, and translators have learned to be suspicious of them. \
A word that seems to need a paragraph usually needs only the right neighbour. "Cosy" does half the work; a kettle \
in the next sentence does the other half. What is lost is seldom the meaning. It is the speed.

When the first satellites showed the whole planet at once, people were struck by how thin the air looked: a pale \
film, blue at the edge, no thicker than the skin of an apple. Pilots had said as much for years, and mountaineers \
before them, but a photograph convinces where a description merely informs. The picture hung in classrooms for a \
generation, and it changed what children drew when they were asked to draw the world.

Salt the water, wait until it boils, and add the pasta all at once. Stir during the first minute so that nothing \
sticks; after that, leave it alone. Keep a cup of the cooking water, which is cloudy with starch and will bind the \
sauce better than cream. Two minutes before the packet says so, taste. If there is a thin white line in the middle, \
it needs one minute more.

Why do cats purr? The honest answer is that nobody is quite sure. They purr when they are content, but also when \
they are hurt or frightened, and the sound itself (between 25 and 150 vibrations each second) may help bones and \
muscles to mend. Perhaps it means several things at once, the way a smile does. Perhaps it simply works.

The old library kept its rules on a card by the door. Speak softly. Return what you borrow. Do not lean on the \
globe. Somebody, long ago, had added a fourth line in pencil, and no librarian had ever had the heart to rub it \
out: if you find the book that you were not looking for, sit down at once, and begin.
"""

_TOKEN = re.compile(r"\s?[^\W\d_]+|\s?\d+|\s+|\s?[^\w\s]+|_+")


def tokens(text: str) -> list[str]:
    """Cut the text much as a language model's tokenizer does: a space goes with the word that follows it.

    Words longer than six letters are cut in two or more, punctuation and numbers are tokens of their own.
    """
    pieces: list[str] = []
    for match in _TOKEN.finditer(text):
        piece = match.group()
        while len(piece) > 7:
            pieces.append(piece[:5])
            piece = piece[5:]
        pieces.append(piece)
    return pieces


def fixed(text: str, size: int = 4) -> list[str]:
    """Cut the text into pieces of ``size`` characters; the last may be shorter."""
    return [text[at : at + size] for at in range(0, len(text), size)]


def chunks(count: int) -> list[str]:
    """``count`` token-like pieces of the prose, which starts again from its beginning when it ends."""
    pieces = tokens(PROSE)
    return [pieces[n % len(pieces)] for n in range(count)]
