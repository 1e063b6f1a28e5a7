"""The settings of the proxy: keyword arguments over ``SAFEPROXY_*`` variables, secret files, a YAML file, defaults."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
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
from safeproxy.shell.paths import DEFAULT_PASS_PATHS, PassPaths
from safeproxy.shell.sections import LimitSettings, Seconds, UpstreamSettings, upstream_address
from safeproxy.wire.caps import Caps

PREFIX = "SAFEPROXY_"
#: Variable with the folder of secrets, each a file named as its variable would be: ``safeproxy_admin_token``.
SECRETS_DIR = PREFIX + "SECRETS_DIR"
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


Size = Annotated[int, Field(ge=1024, le=2**31)]


class Settings(BaseSettings):
    """All that an operator can set. Raises ConfigError, naming the setting and the remedy."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, validate_default=False
    )

    upstream: Annotated[str, AfterValidator(upstream_address)] | None = Field(
        default=None,
        description="Address of the LLM API, for example https://api.openai.com: request paths are appended to it. "
        "A trailing version such as /v1 is accepted: it is put in front of paths without one and never doubled. "
        "Required, unless there are `upstreams`.",
    )
    upstreams: tuple[UpstreamSettings, ...] = Field(
        default=(),
        description="Several LLM APIs in place of one: the first that a request's path and model fit is asked. See "
        "below.",
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
    client_header_timeout: Seconds = Field(
        default=30, description="Seconds that a client may take to send a request's headers; then it is cut off."
    )
    client_body_timeout: Seconds = Field(
        default=60, description="Seconds that a client may pause while it sends a request's body; then it is cut off."
    )
    client_read_timeout: Seconds = Field(
        default=120, description="Seconds that a client may leave what it is sent unread; then it is cut off."
    )
    max_header_bytes: Size = Field(
        default=65_536, description="Longest header, and longest request line, of a request or an answer, in bytes."
    )
    connect_timeout: Seconds = Field(default=10, description="Seconds to wait for a connection to the upstream.")
    first_byte_timeout: Seconds = Field(
        default=600,
        description="Seconds to wait for the first byte of the upstream's answer, after the request was sent: a stream "
        "may open at once and its model think for long.",
    )
    idle_timeout: Seconds = Field(
        default=30, description="Seconds that the upstream may be silent in the middle of its answer."
    )
    total_timeout: Seconds = Field(
        default=3600,
        description="Seconds that an answer may take, from the request on; then it ends with an error.",
    )
    retry_attempts: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2,
        description="How often a request is sent again to each upstream, when it failed before the answer's first byte "
        "and may be repeated.",
    )
    retry_base_delay: Seconds = Field(
        default=0.8, description="Seconds before the first repetition; doubled for each further one, with jitter."
    )
    pool_keep_alive: float = Field(
        default=15,
        ge=0,
        le=3600,
        description="Seconds that an idle connection to an upstream is kept for the next request; 0 for never.",
    )
    max_streams: int = Field(
        default=0, ge=0, description="Most requests served at the same time by a process; more get 503. 0 for no limit."
    )
    max_answer_chars: int = Field(
        default=0,
        ge=0,
        description="Longest text of an answer, in characters; then it ends as length. 0 for no limit.",
    )
    max_answer_tokens: int = Field(
        default=0,
        ge=0,
        description="Most tokens of an answer: put into the request as its max_tokens, or what its API calls it, where "
        "it asks for more or says nothing. 0 for no limit.",
    )
    default_max_tokens: int = Field(
        default=0, ge=0, description="The max_tokens of requests that say nothing of it. 0 for the upstream's own."
    )
    default_temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="The temperature of requests that say nothing of it; none for the upstream's own."
    )
    max_temperature: Annotated[float, Field(ge=0, le=2)] | None = Field(
        default=None, description="Highest temperature: requests that ask for more get this."
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
    workers: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1, description="Processes that share the port; each writes an audit file of its own."
    )
    client_keys: Path | None = Field(
        default=None,
        description="File of virtual keys, one of which every request must present then; read again "
        "when it changes. Without it clients send the upstream's own credentials.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=(),
        description="Addresses or networks of proxies in front, such as 10.0.0.0/8, whose X-Forwarded-For tells a "
        "client's address.",
    )
    tag_headers: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)] = Field(
        default=(),
        description="Request headers that are kept as tags in records and cost metrics, such as x-team; they are not "
        "sent on.",
    )
    limits: tuple[LimitSettings, ...] = Field(
        default=(), description="What a client, a tenant or an address may ask for in a minute. See below."
    )
    redis_url: SecretStr | None = Field(
        default=None,
        description="Redis that all processes and machines count the limits in, such as redis://host:6379/0; without "
        "it each process counts for itself.",
    )
    on_limits_error: Literal["local", "refuse"] = Field(
        default="local", description="When Redis is gone: each process counts for itself, or requests get 503."
    )
    prices: Path | None = Field(
        default=None, description="YAML file with prices by model; read again when it changes. See below."
    )
    ask_usage: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether streams are asked for their usage where the client did not ask; it is not shown to the "
        "client then. auto: when there are prices or limits on tokens.",
    )
    admin_host: str = Field(default="127.0.0.1", min_length=1, description="Address that `admin_port` listens on.")
    admin_port: int | None = Field(
        default=None,
        ge=0,
        le=65535,
        description="Port of its own for the paths below /-/, which are gone from `port` then, `/-/health` excepted.",
    )
    admin_token: Annotated[SecretStr | None, AfterValidator(_key)] = Field(
        default=None,
        description="Secret, at least 16 bytes, that /-/metrics and the details of /-/ready want as a bearer token. "
        "Without it and without `admin_port` both are for clients on this machine only.",
    )
    otlp_endpoint: str | None = Field(
        default=None,
        description="Address of an OpenTelemetry collector, such as http://127.0.0.1:4318, that traces and metrics are "
        "sent to over OTLP/HTTP; needs the extra otel.",
    )
    tls_certificate: Path | None = Field(
        default=None, description="File with the certificate (chain), PEM, to listen with TLS; needs `tls_key`."
    )
    tls_key: Path | None = Field(default=None, description="File with the certificate's key, PEM, not encrypted.")
    upstream_ca: Path | None = Field(
        default=None, description="File with the authorities to trust for upstreams, PEM, instead of the system's."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        """What single settings cannot say of one another."""
        if (self.upstream is None) == (not self.upstreams):
            what = "is missing" if self.upstream is None else "excludes 'upstreams'"
            raise ValueError(
                f"setting 'upstream' {what}; give one of them as an option, as {PREFIX}UPSTREAM, {PREFIX}UPSTREAMS "
                "or in the settings file"
            )
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("settings 'tls_certificate' and 'tls_key' belong together; give both or neither")
        names = [one.name for one in self.upstreams]
        for one in self.upstreams:
            if names.count(one.name) > 1:
                raise ValueError(f"setting 'upstreams': two are named {one.name!r}; give each a name of its own")
            for other in one.failover:
                if other not in names or other == one.name:
                    raise ValueError(
                        f"setting 'upstreams': {one.name!r} fails over to {other!r}; name another upstream, one of "
                        f"{', '.join(sorted(set(names) - {one.name})) or 'none'}"
                    )
        return self

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(_secrets_dir=_secrets_dir(), **values)
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
                return sources["init_settings"], sources["env_settings"], sources["file_secret_settings"], file

        try:
            settings: Self = WithFile(**given)
        except ConfigError as error:
            raise ConfigError(f"{error}\n(settings file: {config})") from None
        return settings

    @property
    def asks_usage(self) -> bool:
        """Whether streams are asked for their usage where the client did not ask."""
        needed = self.prices is not None or any(limit.tokens for limit in self.limits)
        return self.ask_usage == "always" or (self.ask_usage == "auto" and needed)

    @property
    def caps(self) -> Caps:
        """What requests may ask for."""
        return Caps(self.default_max_tokens, self.max_answer_tokens, self.default_temperature, self.max_temperature)

    @property
    def sealing_key(self) -> bytes | None:
        """The seal key as bytes."""
        return None if self.seal_key is None else self.seal_key.get_secret_value().encode()

    @property
    def key(self) -> bytes | None:
        """The hash key as bytes."""
        return None if self.hash_key is None else self.hash_key.get_secret_value().encode()


def _secrets_dir() -> str | None:
    place = os.environ.get(SECRETS_DIR) or None
    if place is not None and not Path(place).is_dir():
        raise ConfigError(f"{SECRETS_DIR} names no folder that can be read; mount the secrets there or unset it")
    return place


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
    name = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"setting {name!r} is missing; give it"
    if error["type"] == "extra_forbidden":
        if error["loc"][1:]:
            return f"unknown setting {name!r}; remove it or mend its spelling"
        return f"unknown setting {name!r}; use one of {', '.join(sorted(Settings.model_fields))}"
    message = str(error["msg"]).removeprefix("Value error, ")
    if not name:
        return message
    if error["loc"][1:]:
        return f"setting {name!r}: {message[:1].lower()}{message[1:]}"
    return f"setting {name!r} (or {PREFIX}{name.upper()}): {message[:1].lower()}{message[1:]}"
