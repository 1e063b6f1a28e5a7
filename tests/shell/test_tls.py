"""TLS for listening: which certificates can be used, and that a renewed one is shown. Handshakes are in memory."""

from __future__ import annotations

import itertools
import os
import ssl
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from safeproxy.errors import ConfigError
from safeproxy.shell.tls import Certificate

_CLOCK = itertools.count(1_800_000_000)


def write(folder: Path, authority: trustme.CA, name: str = "localhost") -> tuple[Path, Path]:
    """Files of a certificate for ``name`` and its key."""
    made = authority.issue_cert(name)
    certificate, key = folder / "tls.crt", folder / "tls.key"
    certificate.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))
    key.write_bytes(made.private_key_pem.bytes())
    later = next(_CLOCK)  # two writes within a tick of the clock are two versions
    for path in (certificate, key):
        os.utime(path, (later, later))
    return certificate, key


def handshake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> str | None:
    """The version that both agree on; raises ssl.SSLError where they do not."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    left = list(ends)
    for _ in range(10):
        for end in list(left):
            try:
                end.do_handshake()
                left.remove(end)
            except ssl.SSLWantReadError:
                pass
    assert left == []
    return ends[0].version()


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    """A client that trusts ``authority`` alone."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(context)
    return context


def test_it_is_shown_to_clients(tmp_path: Path) -> None:
    """TLS 1.3 with those who can, and the chain verifies."""
    authority = trustme.CA()
    assert handshake(Certificate(*write(tmp_path, authority)).context, trusting(authority)) == "TLSv1.3"


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_old_versions_are_refused(tmp_path: Path, version: ssl.TLSVersion) -> None:
    """TLS 1.2 is the oldest; the client is not what refuses."""
    authority = trustme.CA()
    server = Certificate(*write(tmp_path, authority)).context
    client = trusting(authority)
    client.set_ciphers("ALL:@SECLEVEL=0")
    client.minimum_version = version
    client.maximum_version = version
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol|protocol version"):
        handshake(server, client)
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    assert handshake(server, client) == "TLSv1.2"


def test_a_renewed_one_is_shown_to_new_connections(tmp_path: Path) -> None:
    """No restart: the same context, another certificate; unchanged files are not read again."""
    old, new = trustme.CA(), trustme.CA()
    certificate = Certificate(*write(tmp_path, old))
    assert not certificate.renew()
    write(tmp_path, new)
    assert certificate.renew()
    assert handshake(certificate.context, trusting(new))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(certificate.context, trusting(old))
    assert not certificate.renew()


def test_a_renewal_that_fails_leaves_the_old_one(tmp_path: Path) -> None:
    """Half of it written, say: an error once, and clients are served on; then the other half comes."""
    old, new = trustme.CA(), trustme.CA()
    certificate = Certificate(*write(tmp_path, old))
    key = (tmp_path / "tls.key").read_bytes()
    _, new_key = write(tmp_path, new)
    whole = new_key.read_bytes()
    new_key.write_bytes(key)
    with pytest.raises(ConfigError, match=r"tls\.key is not the key of"):
        certificate.renew()
    assert not certificate.renew()
    assert handshake(certificate.context, trusting(old))
    new_key.write_bytes(whole + b"\n")
    assert certificate.renew()
    assert handshake(certificate.context, trusting(new))


@pytest.mark.parametrize(
    ("spoilt", "setting"), [("tls.crt", "tls_certificate"), ("tls.key", "tls_key")], ids=["certificate", "key"]
)
def test_what_is_missing_or_no_pem_is_named(tmp_path: Path, spoilt: str, setting: str) -> None:
    """Setting, file and remedy; never what the file holds."""
    files = write(tmp_path, trustme.CA())
    (tmp_path / spoilt).write_bytes(b"secret bytes")
    with pytest.raises(ConfigError, match=rf"'{setting}'.*{spoilt}.*PEM form; give") as caught:
        Certificate(*files)
    assert "secret bytes" not in str(caught.value)
    (tmp_path / spoilt).unlink()
    with pytest.raises(ConfigError, match=rf"'{setting}'.*{spoilt}.*name a file"):
        Certificate(*files)


def test_what_is_broken_inside_is_named(tmp_path: Path) -> None:
    """PEM around nothing that OpenSSL knows."""
    certificate, key = write(tmp_path, trustme.CA())
    certificate.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", encoding="ascii")
    with pytest.raises(ConfigError, match=r"tls\.crt.*openssl x509"):
        Certificate(certificate, key)


def test_the_key_of_another_is_named(tmp_path: Path) -> None:
    """The two files belong together."""
    other = tmp_path / "other"
    other.mkdir()
    certificate, _ = write(tmp_path, trustme.CA())
    _, key = write(other, trustme.CA())
    with pytest.raises(ConfigError, match=r"is not the key of .*tls\.crt; give the two"):
        Certificate(certificate, key)


def test_an_encrypted_key_is_refused(tmp_path: Path) -> None:
    """Nobody is there to be asked for a password."""
    certificate, key = write(tmp_path, trustme.CA())
    plain = load_pem_private_key(key.read_bytes(), None)
    key.write_bytes(plain.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass")))
    with pytest.raises(ConfigError, match=r"'tls_key': .*tls\.key is encrypted; write it without"):
        Certificate(certificate, key)
