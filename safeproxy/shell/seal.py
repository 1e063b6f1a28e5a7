"""Sealing: a text that only this proxy can read again, carried by the client from one request to the next.

The envelope is Fernet's (AES-128-CBC with HMAC-SHA-256, https://github.com/fernet/spec), from the package
``cryptography``. Without a configured key each process has its own, and what it sealed ends with it.
"""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from safeproxy.wire.anthropic import SEALED


class Sealer:
    """Seals and opens texts with a key of any length, None for one of its own."""

    def __init__(self, key: bytes | None) -> None:
        raw = Fernet.generate_key() if key is None else base64.urlsafe_b64encode(hashlib.sha256(key).digest())
        self._fernet = Fernet(raw)

    def seal(self, text: str) -> str:
        """The text, sealed: printable ASCII without spaces."""
        return SEALED + self._fernet.encrypt(text.encode("utf-8", "surrogatepass")).decode()

    def unseal(self, sealed: str) -> str | None:
        """The text that was sealed, None if it was not sealed with this key."""
        try:
            return self._fernet.decrypt(sealed.removeprefix(SEALED)).decode("utf-8", "surrogatepass")
        except InvalidToken:
            return None
