"""A stand-in that its owner can turn back: what presidio-anonymizer calls `encrypt` and `decrypt`.

AES-SIV (RFC 5297) in place of Presidio's AES-CBC: it needs no random number, so equal values have equal stand-ins
whenever and however they are streamed, as the action `hash` has them; and it is authenticated, so that what was forged
or cut short is not taken for a stand-in. It shows the value's length, and whoever has the key has all the values.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

import regex
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

# An entity, and in base64 the 16 bytes of the tag and at least one of the value.
_STAND_IN = regex.compile(r"\[([A-Z][A-Z0-9_]*):([A-Za-z0-9_-]{23,})\]")
_PURPOSE = b"safeproxy reversible stand-in"


def encrypted(entity: str, text: str, key: bytes) -> str:
    """The stand-in ``[ENTITY:...]`` of a text that is not empty, under a secret key of any length."""
    sealed = _cipher(key).encrypt(text.encode("utf-8", "surrogatepass"), [entity.encode()])
    return f"[{entity}:{base64.urlsafe_b64encode(sealed).decode().rstrip('=')}]"


def decrypted(text: str, key: bytes) -> str:
    """The text with every stand-in that was made under this key turned back; all else stays as it is."""
    cipher = _cipher(key)
    return _STAND_IN.sub(lambda found: _opened(found[1], found[2], cipher) or found[0], text)


def _cipher(key: bytes) -> AESSIV:
    """AES-256-SIV with a key derived for this purpose alone: the same secret also makes pseudonyms."""
    return AESSIV(hmac.new(key, _PURPOSE, hashlib.sha512).digest())


def _opened(entity: str, sealed: str, cipher: AESSIV) -> str | None:
    try:
        data = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
        return cipher.decrypt(data, [entity.encode()]).decode("utf-8", "surrogatepass")
    except (binascii.Error, InvalidTag, ValueError):
        return None
