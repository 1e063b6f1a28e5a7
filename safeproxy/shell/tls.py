"""TLS for those who connect to the proxy, with a certificate that may be renewed while it runs."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

from safeproxy.errors import ConfigError
from safeproxy.shell.reloaded import Stamp, stamp

#: How often it is looked whether the files have changed, in seconds.
_LOOK = 5.0


class Certificate:
    """A certificate with its key, and the context that shows it to clients: TLS 1.2 or later."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Raises ConfigError, naming the file and what to mend."""
        self._certificate, self._key = certificate, key
        self._stamp = self._stamps()
        self.context = self._loaded()

    def renew(self) -> bool:
        """Show what the files hold now, if they have changed and can be used; new connections see it.

        Raises ConfigError where they cannot: then clients see the old certificate still.
        """
        stamp = self._stamps()
        if stamp == self._stamp:
            return False
        self._stamp = stamp
        self._loaded()  # first apart: a certificate without its key would spoil the context in use
        self.context.load_cert_chain(self._certificate, self._key, password=_no_password)
        return True

    async def keep(self, failed: Callable[[str], None]) -> None:
        """Look for renewed files for ever; ``failed`` is told of those that cannot be used, once each."""
        while True:
            await asyncio.sleep(_LOOK)
            try:
                self.renew()
            except ConfigError as error:
                failed(str(error))

    def _loaded(self) -> ssl.SSLContext:
        _check(self._certificate, "tls_certificate", "-----BEGIN CERTIFICATE-----", "a certificate")
        _check(self._key, "tls_key", "PRIVATE KEY-----", "a private key")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        try:
            context.load_cert_chain(self._certificate, self._key, password=_no_password)
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                problem = f"{self._key} is not the key of {self._certificate}; give the two that were made together"
            else:
                problem = (
                    f"{self._certificate} and {self._key} cannot be used ({error.reason or 'not readable'}); give PEM "
                    "files that openssl x509 and openssl pkey can read"
                )
            raise ConfigError(f"settings 'tls_certificate' and 'tls_key': {problem}") from None
        except _EncryptedKeyError:
            raise ConfigError(
                f"setting 'tls_key': {self._key} is encrypted; write it without a password (openssl pkey -in ... "
                "-out ...) where only the proxy's user can read it"
            ) from None
        return context

    def _stamps(self) -> tuple[Stamp | None, ...]:
        return stamp(self._certificate), stamp(self._key)


class _EncryptedKeyError(Exception):
    pass


def _no_password() -> str:
    """Asked for by OpenSSL where a key is encrypted; without it the terminal would be asked."""
    raise _EncryptedKeyError


def _check(path: Path, setting: str, mark: str, what: str) -> None:
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise ConfigError(
            f"setting {setting!r}: {path}: {error.strerror}; name a file that the proxy's user can read"
        ) from None
    if mark not in text:
        raise ConfigError(f"setting {setting!r}: {path} does not hold {what} in PEM form; give one that does")
