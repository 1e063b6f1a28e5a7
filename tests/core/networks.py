"""Small random networks, and what they decide of a whole text at once, calculated the plain way."""

from __future__ import annotations

import numpy as np

from safeproxy.core.tagger import Array, Layer, Scorer, Tagger

MOVES = ("B-A", "I-A", "L-A", "U-A", "B-B", "I-B", "L-B", "U-B", "O")
WIDTH, HIDDEN, PIECES = 6, 5, 2


def arrays(seed: int, depth: int) -> tuple[list[Layer], Scorer]:
    """Weights of a network, the same for the same seed."""
    random = np.random.default_rng(seed)

    def some(*shape: int) -> Array:
        return random.normal(size=shape).astype(np.float32)

    layers = [
        Layer(some(3 * WIDTH, PIECES * WIDTH), some(PIECES * WIDTH), some(WIDTH), some(WIDTH)) for _ in range(depth)
    ]
    size = PIECES * HIDDEN
    scorer = Scorer(
        some(WIDTH, 3 * size), some(3 * size), some(3, size), some(size), some(HIDDEN, len(MOVES)), some(len(MOVES))
    )
    return layers, scorer


def tagger(seed: int, depth: int) -> Tagger:
    """A network with labels A and B."""
    return Tagger(*arrays(seed, depth), MOVES)


def decided_at_once(seed: int, depth: int, rows: Array, spaces: list[bool]) -> list[str]:
    """The moves for a whole text, token by token as its definition says."""
    layers, scorer = arrays(seed, depth)
    nothing = np.zeros((depth, WIDTH), np.float32)
    text = np.concatenate([nothing, rows, nothing]).astype(np.float64)
    for layer in layers:
        beyond = np.zeros((1, WIDTH))
        padded = np.concatenate([beyond, text, beyond])
        text = np.array([text[at] + _norm(layer, np.concatenate(padded[at : at + 3])) for at in range(len(text))])
    top = text[depth : len(text) - depth] if depth else text
    moves: list[str] = []
    first = None
    for at, row in enumerate(top):
        parts = (row @ scorer.features + scorer.feature_bias).reshape(3, PIECES * HIDDEN)
        previous = (top[at - 1] @ scorer.features + scorer.feature_bias).reshape(3, -1)[2] if at else None
        if first is None or previous is None:
            hidden = parts[0] + scorer.pad[1] + scorer.pad[2] + scorer.bias
        else:
            hidden = parts[0] + first[1] + previous + scorer.bias
        scores = hidden.reshape(PIECES, HIDDEN).max(0) @ scorer.upper + scorer.upper_bias
        last = at + 1 == len(top)
        allowed = [name for name in MOVES if _allowed(name, moves, spaces[at], last)]
        best = max(allowed, key=lambda name, found=scores: found[MOVES.index(name)])  # type: ignore[misc]
        moves.append(best)
        if best[0] == "B":
            first = parts
        elif best[0] in "LUO":
            first = None
    return moves


def _norm(layer: Layer, window: np.ndarray) -> np.ndarray:
    best = (window @ layer.weights + layer.bias).reshape(PIECES, WIDTH).max(0)
    return np.asarray((best - best.mean()) / np.sqrt(best.var() + 1e-8) * layer.gain + layer.shift)


def _allowed(name: str, before: list[str], space: bool, last: bool) -> bool:
    is_open = bool(before) and before[-1][0] in "BI"
    if is_open:
        return name[0] in ("L" if last else "IL") and name[2:] == before[-1][2:]
    if space:
        return name == "O"
    return name[0] in ("UO" if last else "BUO")
