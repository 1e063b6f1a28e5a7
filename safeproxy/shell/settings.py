"""The settings of the proxy: keyword arguments over ``SAFEPROXY_*`` variables over a YAML file over defaults."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from safeproxy.errors import ConfigError
from safeproxy.shell.cors import Cors
from safeproxy.shell.paths import DEFAULT_PASS_PATHS, Origin, PassPaths

PREFIX = "SAFEPROXY_"
#: Shortest key for the action ``hash``, in bytes: as long as the strength that is wanted of it, 128 bits.
MIN_KEY_BYTES = 16


def _listed(value: object) -> object:
    """A list written as text: JSON, or parts separated by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"looks like a JSON list and is none ({error})") from None
    return [part.strip() for part in value.split(",") if part.strip()]


def _upstream(value: str) -> str:
    Origin.parse(value)
    return value


def _pass_paths(value: tuple[str, ...]) -> tuple[str, ...]:
    PassPaths.parse(value)
    return value


def _off(value: object) -> object:
    """YAML reads an unquoted ``off`` as false."""
    return "off" if value is False else value


def _cors_origins(value: tuple[str, ...]) -> tuple[str, ...]:
    Cors.parse(value)
    return value


def _key(value: SecretStr | None) -> SecretStr | None:
    if value is not None and len(value.get_secret_value().encode()) < MIN_KEY_BYTES:
        raise ValueError(f"needs at least {MIN_KEY_BYTES} bytes")
    return value


Seconds = Annotated[float, Field(gt=0, le=86_400)]
Size = Annotated[int, Field(ge=1024, le=2**31)]


class Settings(BaseSettings):
    """All that an operator can set. Raises ConfigError, naming the setting and the remedy."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, validate_default=False
    )

    upstream: Annotated[str, AfterValidator(_upstream)] = Field(
        description="Address of the LLM API, for example https://api.openai.com: request paths are appended to it. "
        "A trailing version such as /v1 is accepted: it is put in front of paths without one and never doubled."
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8080, ge=0, le=65535, description="Port to listen on; 0 takes any free one.")
    rules: Annotated[tuple[Path, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=(),
        description="Rule files or folders of them; `shipped` stands for the shipped rules, "
        "which are also the default.",
    )
    audit: Path = Field(default=Path("audit/log"), description="Folder of the audit trail; made if it is missing.")
    hash_key: Annotated[SecretStr | None, AfterValidator(_key)] = Field(
        default=None,
        description="Secret key for rules with the action hash or encrypt, at least 16 bytes. Keep it: a new key "
        "gives new pseudonyms.",
    )
    on_detector_error: Literal["halt", "pass"] = Field(
        default="halt", description="When a detector breaks: halt the answer, or let its text pass and record that."
    )
    on_audit_error: Literal["halt", "pass"] = Field(
        default="halt",
        description="When the audit trail cannot be written: refuse new requests and halt running ones, or carry on.",
    )
    pass_paths: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_pass_paths)] = Field(
        default=DEFAULT_PASS_PATHS,
        description="Paths that may pass unfiltered, such as 'GET|HEAD /v1/models/*' (* one segment, ** any rest). "
        "Replaces the default list. Paths that the proxy can filter are always filtered, files excepted.",
    )
    unknown_paths: Literal["filter", "refuse"] = Field(
        default="filter",
        description="Paths that neither a known API nor pass_paths names: filter their answers if they are JSON, alone "
        "or in a stream, and withhold any other; or refuse the request.",
    )
    websockets: Literal["refuse", "filter"] = Field(
        default="refuse",
        description="WebSocket connections: refuse them, or filter the messages of the realtime and responses APIs "
        "(any other path is refused).",
    )
    halt_notice: Annotated[str, Field(max_length=500)] = Field(
        default="",
        description="Shown to the user as the last text of an answer that is halted, unless it was asked for as JSON; "
        "many clients show nothing by themselves.",
    )
    halt_style: Literal["auto", "incomplete", "failed"] = Field(
        default="auto",
        description="How a halted answer of the responses API ends: as incomplete, or as failed for clients that ask "
        "again when an answer is incomplete (auto: for Codex).",
    )
    seal_key: Annotated[SecretStr | None, AfterValidator(_key)] = Field(
        default=None,
        description="Secret key, at least 16 bytes, for signed thinking that was changed: its original travels sealed "
        "in the signature and is put back in the next request. Without it each process makes one of its own.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed), AfterValidator(_cors_origins)] = Field(
        default=(),
        description="Web origins whose pages may use the proxy from a browser, such as https://app.example.com; "
        "* for any. The proxy then answers preflight requests itself and replaces the upstream's CORS headers; "
        "without it both are the upstream's.",
    )
    compress: Annotated[Literal["off", "gzip"], BeforeValidator(_off)] = Field(
        default="off",
        description="Whether filtered answers are sent as gzip to clients that ask for it, a stream event by event.",
    )
    client_max_size: Size = Field(
        default=32 * 2**20, description="Longest request body on filtered paths, in bytes; more is answered with 413."
    )
    max_body_bytes: Size = Field(
        default=32 * 2**20, description="Longest answer that is not a stream, in bytes; more is answered with 502."
    )
    max_event_bytes: Size = Field(
        default=16 * 2**20, description="Longest single event of a stream, in bytes; a longer one ends the stream."
    )
    connect_timeout: Seconds = Field(default=10, description="Seconds to wait for a connection to the upstream.")
    first_byte_timeout: Seconds = Field(
        default=600, description="Seconds to wait for the upstream's answer to begin, after the request was sent."
    )
    idle_timeout: Seconds = Field(
        default=600, description="Seconds that the upstream may be silent in the middle of its answer."
    )
    keep_alive: float = Field(
        default=15,
        ge=0,
        le=86_400,
        description="Seconds without anything to send after which a stream gets a sign of life, where the API has one; "
        "0 for never.",
    )
    hold_timeout: Seconds = Field(
        default=300,
        description="Seconds that text of a stream may be held while the upstream goes on, where the API has no sign "
        "of life; then the answer ends with an error.",
    )
    shutdown_grace: float = Field(
        default=30, ge=0, le=3600, description="Seconds that running answers get to end when the process is stopped."
    )

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError("\n".join(_complaint(one) for one in error.errors(include_input=False))) from None
        except SettingsError as error:
            raise ConfigError(f"settings: {error}") from None

    @classmethod
    def load(cls, config: Path | None = None, **values: object) -> Self:
        """Settings from keywords (None counts as not given), environment and the YAML file ``config``.

        Raises ConfigError, naming file, key and remedy.
        """
        given = {name: value for name, value in values.items() if value is not None}
        if config is None:
            return cls(**given)
        from_file = _read(config, known=set(cls.model_fields))

        class WithFile(cls):  # type: ignore[valid-type, misc]
            """The same settings with one more source, the weakest."""

            @classmethod
            def settings_customise_sources(
                cls, settings_cls: type[BaseSettings], **sources: PydanticBaseSettingsSource
            ) -> tuple[PydanticBaseSettingsSource, ...]:
                file = InitSettingsSource(settings_cls, init_kwargs=from_file)
                return sources["init_settings"], sources["env_settings"], file

        try:
            settings: Self = WithFile(**given)
        except ConfigError as error:
            raise ConfigError(f"{error}\n(settings file: {config})") from None
        return settings

    @property
    def sealing_key(self) -> bytes | None:
        """The seal key as bytes."""
        return None if self.seal_key is None else self.seal_key.get_secret_value().encode()

    @property
    def key(self) -> bytes | None:
        """The hash key as bytes."""
        return None if self.hash_key is None else self.hash_key.get_secret_value().encode()


def _read(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"settings file {path}: {error.strerror}; name a file that can be read") from None
    except UnicodeDecodeError:
        raise ConfigError(f"settings file {path}: not UTF-8 text; save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f", line {mark.line + 1}, column {mark.column + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or "unreadable"
        raise ConfigError(f"settings file {path}{place}: not YAML ({problem})") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(f"settings file {path}: needs a mapping of settings, such as 'port: 8080'")
    for name in loaded:
        if name not in known:
            raise ConfigError(
                f"settings file {path}: unknown setting {name!r}; remove it or use one of {', '.join(sorted(known))}"
            )
    return loaded


def _complaint(error: Any) -> str:
    """One fault as a sentence. The value is never repeated: it may be a secret."""
    name = str(error["loc"][0]) if error["loc"] else "?"
    if error["type"] == "missing":
        return f"setting {name!r} is missing; give it as an option, as {PREFIX}{name.upper()} or in the settings file"
    if error["type"] == "extra_forbidden":
        return f"unknown setting {name!r}; use one of {', '.join(sorted(Settings.model_fields))}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"setting {name!r} (or {PREFIX}{name.upper()}): {message[:1].lower()}{message[1:]}"
