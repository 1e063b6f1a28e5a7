"""Settings: where they come from, which wins, and what is said when they are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from safeproxy.errors import ConfigError
from safeproxy.shell.paths import DEFAULT_PASS_PATHS
from safeproxy.shell.settings import PREFIX, SECRETS_DIR, Settings

UPSTREAM = "https://api.example.com/v1"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the machine the tests run on may change a setting."""
    for name in Settings.model_fields:
        monkeypatch.delenv(PREFIX + name.upper(), raising=False)
    monkeypatch.delenv(SECRETS_DIR, raising=False)


def write(folder: Path, text: str) -> Path:
    """A settings file."""
    path = folder / "safeproxy.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_defaults_are_the_documented_ones() -> None:
    """Only the upstream has to be given."""
    settings = Settings(upstream=UPSTREAM)
    assert (settings.host, settings.port, settings.rules, settings.audit) == ("127.0.0.1", 8080, (), Path("audit/log"))
    assert (settings.on_detector_error, settings.on_audit_error) == ("halt", "halt")
    assert settings.pass_paths == DEFAULT_PASS_PATHS
    assert settings.key is None
    assert (settings.cors_origins, settings.compress) == ((), "off")
    assert (settings.keep_alive, settings.hold_timeout) == (15, 300)


def test_every_setting_is_described() -> None:
    """A setting that is not explained is not finished."""
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.rstrip().endswith("."), name


def test_keywords_win_over_environment_over_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each source overrides the one behind it, setting by setting."""
    config = write(tmp_path, f"upstream: {UPSTREAM}\nport: 1\nhost: 'file'\nconnect_timeout: 3\n")
    monkeypatch.setenv("SAFEPROXY_PORT", "2")
    monkeypatch.setenv("SAFEPROXY_HOST", "environment")
    settings = Settings.load(config, port=3, audit=None)
    assert (settings.port, settings.host, settings.connect_timeout) == (3, "environment", 3)
    assert settings.upstream == UPSTREAM


def test_secrets_come_from_files_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of the secrets folder gives the setting it is named after: below the environment, above the file."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    monkeypatch.setenv("SAFEPROXY_SECRETS_DIR", str(secrets))
    (secrets / "safeproxy_admin_token").write_text("0123456789abcdef\n", encoding="utf-8")
    (secrets / "safeproxy_seal_key").write_text("fedcba9876543210\n", encoding="utf-8")
    (secrets / "unrelated").write_text("x", encoding="utf-8")
    config = write(tmp_path, f"upstream: {UPSTREAM}\nseal_key: 'of the settings file'\n")
    for settings in (Settings.load(config), Settings(upstream=UPSTREAM)):
        assert settings.admin_token is not None
        assert settings.admin_token.get_secret_value() == "0123456789abcdef"
        assert settings.sealing_key == b"fedcba9876543210"
    monkeypatch.setenv("SAFEPROXY_SEAL_KEY", "of the environment")
    assert Settings.load(config).sealing_key == b"of the environment"


def test_a_secrets_folder_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mount that failed is an error, not a proxy without its secrets."""
    monkeypatch.setenv("SAFEPROXY_SECRETS_DIR", str(tmp_path / "missing"))
    with pytest.raises(ConfigError, match="SAFEPROXY_SECRETS_DIR names no folder"):
        Settings(upstream=UPSTREAM)
    (tmp_path / "missing").mkdir()
    (tmp_path / "missing" / "safeproxy_admin_token").write_text("short", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"admin_token.*at least 16 bytes"):
        Settings(upstream=UPSTREAM)


def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists are written as JSON or with commas; empty variables count as not set."""
    monkeypatch.setenv("SAFEPROXY_UPSTREAM", UPSTREAM)
    monkeypatch.setenv("SAFEPROXY_RULES", "a.yaml, b")
    monkeypatch.setenv("SAFEPROXY_PASS_PATHS", '["GET|HEAD /x", "/y"]')
    monkeypatch.setenv("SAFEPROXY_PORT", "")
    settings = Settings.load()
    assert settings.rules == (Path("a.yaml"), Path("b"))
    assert settings.pass_paths == ("GET|HEAD /x", "/y")
    assert settings.port == 8080


def test_an_empty_file_sets_nothing(tmp_path: Path) -> None:
    """A file of comments is a valid file."""
    assert Settings.load(write(tmp_path, "# nothing\n"), upstream=UPSTREAM).port == 8080


def test_off_need_not_be_quoted(tmp_path: Path) -> None:
    """YAML takes the word for a truth value."""
    assert Settings.load(write(tmp_path, "compress: off\n"), upstream=UPSTREAM).compress == "off"


@pytest.mark.parametrize(
    ("values", "asks"),
    [
        ({}, False),
        ({"prices": "prices.yaml"}, True),
        ({"prices": "prices.yaml", "ask_usage": "never"}, False),
        ({"ask_usage": "always"}, True),
        ({"limits": [{"per": "key", "tokens": 5}]}, True),
        ({"limits": [{"per": "key", "requests": 5}]}, False),
    ],
)
def test_usage_is_asked_for_where_something_needs_it(values: dict[str, object], asks: bool) -> None:
    """Unless it is said in so many words."""
    assert Settings.load(upstream=UPSTREAM, **values).asks_usage is asks


def test_the_hash_key_does_not_show() -> None:
    """Printing settings does not print the secret."""
    settings = Settings(upstream=UPSTREAM, hash_key="correct horse battery")
    assert settings.key == b"correct horse battery"
    assert "correct" not in f"{settings!r} {settings} {settings.model_dump_json()}"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"upstream": None}, "'upstream' is missing.*SAFEPROXY_UPSTREAM"),
        ({"upstream": "nonsense"}, "'upstream': needs http"),
        ({"port": 70000}, "'port' .*SAFEPROXY_PORT.*65535"),
        ({"port": "tcp://10.0.0.1:80"}, "'port'.*integer"),
        ({"on_audit_error": "ignore"}, "'on_audit_error'.*halt"),
        ({"hash_key": "short"}, "'hash_key'.*16 bytes"),
        ({"pass_paths": ["nonsense"]}, "'pass_paths'"),
        ({"cors_origins": "https://app.example.com/"}, "'cors_origins'.*is not an origin; write scheme"),
        ({"compress": "br"}, "'compress'.*gzip"),
        ({"keep_alive": -1}, "'keep_alive'"),
        ({"hold_timeout": 0}, "'hold_timeout'"),
        ({"rules": "[broken"}, "'rules'.*JSON"),
        ({"client_max_size": 0}, "'client_max_size'"),
        ({"idle_timeout": 0}, "'idle_timeout'"),
        ({"upstraem": "x"}, "unknown setting 'upstraem'.*upstream"),
    ],
)
def test_wrong_settings_name_themselves(values: dict[str, object], expected: str) -> None:
    """The message names the setting and says what would be right."""
    given = {"upstream": UPSTREAM, **values}
    with pytest.raises(ConfigError, match=f"(?s){expected}"):
        Settings(**{name: value for name, value in given.items() if value is not None})


def test_a_wrong_secret_is_not_repeated() -> None:
    """The message about a key does not hold the key."""
    with pytest.raises(ConfigError) as caught:
        Settings(upstream=UPSTREAM, hash_key="s3cret")
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("prot: 1\n", "safeproxy.yaml: unknown setting 'prot'.*port"),
        ("port: [1\n", "safeproxy.yaml, line 2.*not YAML"),
        ("- port\n", "safeproxy.yaml: needs a mapping"),
        ("port: x\n", "'port'.*safeproxy.yaml"),
        ("1: x\n", "unknown setting 1"),
    ],
)
def test_wrong_files_are_named(tmp_path: Path, text: str, expected: str) -> None:
    """The message names the file and the key or place."""
    with pytest.raises(ConfigError, match=f"(?s){expected}"):
        Settings.load(write(tmp_path, text), upstream=UPSTREAM)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A settings file that was asked for must be there."""
    with pytest.raises(ConfigError, match=r"none\.yaml: No such file"):
        Settings.load(tmp_path / "none.yaml", upstream=UPSTREAM)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    """A binary file is not taken for settings."""
    path = tmp_path / "bad.yaml"
    path.write_bytes(b"\xff\xfe\x00port")
    with pytest.raises(ConfigError, match=r"bad\.yaml: not UTF-8"):
        Settings.load(path, upstream=UPSTREAM)
