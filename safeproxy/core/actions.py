"""What stands in a span's place once its action is carried out."""

from __future__ import annotations

import hashlib
import hmac

from safeproxy.core.operators import encrypted
from safeproxy.core.rule import Rule
from safeproxy.errors import ConfigError
from safeproxy.events import Action

#: What a masked code point turns into. A letter, so that it survives in JSON and markdown.
MASK_CHARACTER = "X"
#: The actions that need a key.
KEYED = frozenset({Action.HASH, Action.ENCRYPT})
#: Hex digits of a pseudonym: 64 bits, so that among a million values a collision is a 1 in 37 million chance.
PSEUDONYM_DIGITS = 16


def stand_in(rule: Rule, action: Action, text: str, hash_key: bytes | None) -> str:
    """The text delivered instead of ``text``, a span that ``rule`` decides by ``action``.

    Raises ConfigError when a key is needed and none is configured.
    """
    if action is Action.MASK:
        return masked(text, rule.mask_keep)
    if action in KEYED:
        if hash_key is None:
            raise ConfigError(
                f"rule {rule.id!r} has action {action.value!r}, which needs a hash key; none is configured"
            )
        return (pseudonym if action is Action.HASH else encrypted)(rule.entity, text, hash_key)
    return rule.stand_in


def masked(text: str, keep: int) -> str:
    """``text`` with all but its last ``keep`` code points masked; at least half is always masked."""
    shown = min(keep, len(text) // 2)
    return MASK_CHARACTER * (len(text) - shown) + text[len(text) - shown :]


def pseudonym(entity: str, text: str, key: bytes) -> str:
    """A stable name for ``text`` under ``key``: HMAC-SHA-256 (RFC 2104) over entity and text, cut short."""
    digest = hmac.new(key, f"{entity}\0{text}".encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"[{entity}:{digest.hexdigest()[:PSEUDONYM_DIGITS]}]"
