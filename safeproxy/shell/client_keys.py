"""Virtual keys: what clients present in place of the upstream's own. The file that lists them, and their check.

A key is ``sp-<id>-<secret>``: the id is public, the secret has 256 random bits. The file holds a salted hash of the
secret alone. It is quick on purpose: argon2 and its like make the guessing of passwords dear, but nobody can guess 256
random bits, and every request has to be checked, those of strangers too.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import yaml
from filelock import FileLock
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from safeproxy.errors import ConfigError
from safeproxy.shell.sections import Name

_ID = r"[0-9a-f]{12}"
#: 32 bytes as URL-safe base64: nothing in it needs quoting, in a shell, a header or a query.
_FORM = re.compile(rf"sp-(?P<id>{_ID})-(?P<secret>[A-Za-z0-9_-]{{43}})", re.ASCII)
_HASH = r"^blake2b:[0-9a-f]{32}:[0-9a-f]{64}$"
#: What tells the hashes of these keys from any other use of the function.
_PURPOSE = b"safeproxy key"
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_HEAD = "# Virtual keys of safeproxy, of which only hashes are kept. Made and revoked with `safeproxy keys`.\n"


def _utc(value: datetime) -> datetime:
    """A time without a zone, or a date, is meant in UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _lower(tags: Mapping[str, str]) -> dict[str, str]:
    """Names as those of headers, which they win over."""
    return {name.lower(): value for name, value in tags.items()}


Time = Annotated[datetime, AfterValidator(_utc)]
Tags = Annotated[dict[Name, Name], AfterValidator(_lower)]


class VirtualKey(BaseModel):
    """What is kept of a key: whose it is, how long it is good for, and a hash of its secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=f"^{_ID}$")]
    name: Name
    tenant: Name | None = None
    created: Time
    expires: Time | None = None
    """From then on it is refused."""
    revoked: Time | None = None
    tags: Tags = Field(default_factory=dict)
    hash: Annotated[str, Field(pattern=_HASH, repr=False)]

    def state(self, now: datetime) -> str:
        """``active``, ``expired`` or ``revoked``."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


Keys = Mapping[str, VirtualKey]
"""Keys by their id."""

_KEYS = TypeAdapter(list[VirtualKey])


def _hashed(secret: str, salt: bytes) -> str:
    """The hash of a secret as it stands in the file; ``salt`` has 16 bytes."""
    digest = hashlib.blake2b(secret.encode(), digest_size=32, salt=salt, person=_PURPOSE)
    return f"blake2b:{salt.hex()}:{digest.hexdigest()}"


#: Compared with where there is no key of an id, so that nothing tells an unknown id from a wrong secret.
_NOBODY = VirtualKey(
    id="0" * 12, name="nobody", created=datetime(1970, 1, 1, tzinfo=UTC), hash=_hashed(secrets.token_hex(), bytes(16))
)


def issue(
    name: str,
    *,
    tenant: str | None = None,
    now: datetime,
    expires: datetime | None = None,
    tags: Mapping[str, str] | None = None,
) -> tuple[str, VirtualKey]:
    """A new key, and what is kept of it. Raises ConfigError for a name, a tenant or a tag that cannot be used."""
    id_, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    facts = {"name": name, "tenant": tenant, "created": now, "expires": expires, "tags": dict(tags or {})}
    try:
        kept = VirtualKey.model_validate({"id": id_, "hash": _hashed(secret, secrets.token_bytes(16)), **facts})
    except ValidationError as error:
        raise ConfigError(_complaint(error)) from None
    return f"sp-{id_}-{secret}", kept


def add(path: Path, name: str, *, now: datetime, **facts: Any) -> tuple[str, VirtualKey]:
    """A new key, as `issue` makes it, that the file knows from now on. Raises ConfigError."""
    text, kept = issue(name, now=now, **facts)
    with changing(path) as keys:
        keys[kept.id] = kept
    return text, kept


def id_of(text: str) -> str | None:
    """The id in a virtual key, None if ``text`` has not the form of one."""
    form = _FORM.fullmatch(text)
    return None if form is None else form["id"]


def check(keys: Keys, presented: str, now: datetime) -> VirtualKey | None:
    """The key that ``presented`` is, None if it is none that is good now. Takes the same time for a wrong id."""
    form = _FORM.fullmatch(presented)
    found = _NOBODY if form is None else keys.get(form["id"], _NOBODY)
    secret = "" if form is None else form["secret"]
    salt = bytes.fromhex(found.hash.split(":")[1])
    right = hmac.compare_digest(_hashed(secret, salt), found.hash)
    return found if right and found is not _NOBODY and found.state(now) == "active" else None


def read(path: Path) -> dict[str, VirtualKey]:
    """The keys of a file, by id. Raises ConfigError, which names file and remedy and repeats no value."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"key file {path}: there is no such file; make it with `safeproxy keys create NAME --file {path}`"
        ) from None
    except OSError as error:
        raise ConfigError(f"key file {path}: {error.strerror}; let the user that the proxy runs as read it") from None
    except UnicodeDecodeError:
        raise ConfigError(f"key file {path}: not UTF-8 text; save it as UTF-8") from None
    return _parsed(path, text)


def _parsed(path: Path, text: str) -> dict[str, VirtualKey]:
    try:
        loaded = yaml.load(text, Loader=_LOADER)  # noqa: S506 - a safe loader, by libyaml where there is one
    except (yaml.YAMLError, ValueError) as error:  # a date that there is not is a ValueError
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}" if mark is not None else ""
        raise ConfigError(f"key file {path}{place}: not YAML; mend it, or restore it from a copy") from None
    entries = loaded.get("keys") if isinstance(loaded, dict) and loaded.keys() == {"keys"} else None
    if loaded is not None and not isinstance(entries, list):
        raise ConfigError(f"key file {path}: needs the one entry 'keys' with a list of keys")
    try:
        keys = _KEYS.validate_python(entries or [])
    except ValidationError as error:
        raise ConfigError(f"key file {path}: {_complaint(error)}") from None
    by_id = {key.id: key for key in keys}
    if len(by_id) < len(keys):
        twice = next(key.id for key in keys if by_id[key.id] is not key)
        raise ConfigError(f"key file {path}: two keys have the id {twice}; remove one of them")
    return by_id


def _complaint(error: ValidationError) -> str:
    """The first fault as a sentence. The value is not repeated: it may be a key, put into the wrong place."""
    first = error.errors(include_input=False, include_url=False)[0]
    where = [f"key {part + 1}" if isinstance(part, int) else repr(part) for part in first["loc"]]
    if first["type"] == "string_pattern_mismatch" and not {"id", "hash"} & set(first["loc"]):
        wanted = "needs 1 to 64 letters, digits, '.', '-' or '_', and begins with a letter or a digit"
        return f"{', '.join(where)}: {wanted}"
    return f"{', '.join(where)}: {first['msg'][:1].lower()}{first['msg'][1:]}"


@contextmanager
def changing(path: Path) -> Iterator[dict[str, VirtualKey]]:
    """The keys of a file, which may be changed in place and are written at the end; nobody else changes it meanwhile.

    A file that is not there yet holds no keys. Raises ConfigError.
    """
    path = path.resolve()  # what a link points to is replaced, not the link
    try:
        with FileLock(f"{path}.lock", mode=0o600):
            keys = read(path) if path.exists() else {}
            yield keys
            _write(path, list(keys.values()))
    except OSError as error:
        raise ConfigError(f"key file {path}: {error.strerror}; name a file in a folder that can be written") from None


def _write(path: Path, keys: Sequence[VirtualKey]) -> None:
    """Put a new file in the place of the old one, whole or not at all, readable by its owner alone."""
    entries = [key.model_dump(exclude_none=True, exclude_defaults=True) for key in keys]
    text = _HEAD + yaml.safe_dump({"keys": entries}, sort_keys=False, allow_unicode=True, width=120)
    made: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
        ) as file:  # its mode is 0600
            made = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(OSError, AttributeError):  # root leaves it to the user that the proxy runs as
            owner = path.stat()
            os.chown(made, owner.st_uid, owner.st_gid)
        made.replace(path)
    except BaseException:
        if made is not None:
            made.unlink(missing_ok=True)
        raise
