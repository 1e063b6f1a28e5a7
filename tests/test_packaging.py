"""What is shipped: version, dependencies, what the wheel and the image hold, and that no file names a machine."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

import safeproxy
from safeproxy.rulesets import SHIPPED

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
#: Paths that exist on one machine only. Samples of rules may have such paths: they are what is looked for.
_MACHINE_PATH = re.compile(rb"(?<![\w.~-])/(?:root|work|home/\w+|Users/\w+|tmp/\w+)(?:/|\b)")
_FULL_OF_SAMPLES = ("rules/", "tests/")


def package_names(requirements: list[str]) -> set[str]:
    """The names of the packages, without versions, extras and markers."""
    return {re.split(r"[\s\[<>=!~;]", requirement, maxsplit=1)[0] for requirement in requirements}


def dependency_table() -> set[str]:
    """The packages in the README's table of dependencies."""
    _, _, rest = README.partition("## What it is built on")
    table, _, _ = rest.partition("\n## ")
    return set(re.findall(r"^\| ([\w-]+) \|", table, re.MULTILINE)) - {"package"}


def shipped_files() -> list[Path]:
    """Every file of the checkout that belongs to the project, as git tells."""
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True
    )
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name and (ROOT / name).is_file()]


def test_version_is_the_changelog_s() -> None:
    """The changelog begins with the version of the package."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[(.+?)\]", changelog, re.MULTILINE)
    assert versions[0] == safeproxy.__version__
    assert PROJECT["project"]["dynamic"] == ["version"]


def test_every_runtime_dependency_is_explained() -> None:
    """The README says of each package what it is for and why it was chosen, and of none that is not used."""
    project = PROJECT["project"]
    extras = [needed for name, needed in project["optional-dependencies"].items() if name != "dev"]
    wanted = package_names(project["dependencies"]).union(*map(package_names, extras))
    assert dependency_table() == wanted


def test_every_development_dependency_is_named() -> None:
    """The README names the tools as well."""
    _, _, rest = README.partition("## What it is built on")
    for name in package_names(PROJECT["project"]["optional-dependencies"]["dev"]) - {"safeproxy"}:
        assert re.search(rf"\b{re.escape(name)}\b", rest), name


def test_shipped_rules_go_into_the_wheel() -> None:
    """The wheel holds the rules where the package looks for them when there is no checkout around it."""
    mapping = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    assert mapping == {"rules": "safeproxy/shipped_rules"}
    assert SHIPPED in (ROOT / "rules", Path(safeproxy.__file__).parent / "shipped_rules")


def test_licence_files_are_there() -> None:
    """The licence that the metadata names is the one in the file."""
    for name in PROJECT["project"]["license-files"]:
        assert (ROOT / name).is_file(), name
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "Apache License" in text
    assert "END OF TERMS AND CONDITIONS" in text


def test_image_copies_what_is_there_and_what_is_let_through() -> None:
    """Each COPY of the build stage names files that exist and that .dockerignore lets into the context."""
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    sources = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore, source


def test_image_runs_without_rights() -> None:
    """The last USER of the image is not root, and the settings it is given exist."""
    from safeproxy.shell.settings import PREFIX, Settings

    assert re.findall(r"^USER (.+)$", DOCKERFILE, re.MULTILINE)[-1] == "10001:10001"
    for name in re.findall(rf"{PREFIX}([A-Z_]+)=", DOCKERFILE):
        assert name.lower() in Settings.model_fields, name


def test_no_file_names_a_machine() -> None:
    """Nothing that is shipped holds a path of the machine it was written on."""
    for path in shipped_files():
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(_FULL_OF_SAMPLES):
            assert not (found := _MACHINE_PATH.findall(path.read_bytes())), f"{name}: {found}"
