"""The versions in oldest.txt are the oldest that pyproject.toml admits."""

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
PINS = dict(line.split("==") for line in LINES if not line.startswith("#"))


def test_every_package_is_pinned_to_its_oldest_version():
    extras = PROJECT["optional-dependencies"]
    tested = [line for extra in ("cli", "dask", "polars", "render", "test") for line in extras[extra]]
    requirements = [Requirement(line) for line in PROJECT["dependencies"] + tested]
    floors = {requirement.name: requirement.specifier for requirement in requirements}
    assert PINS.keys() == {*floors, "distributed"}  # a dependency of "dask[distributed]", in dask's version
    assert PINS["distributed"] == PINS["dask"]
    for name, specifier in floors.items():
        (floor,) = (part for part in specifier if part.operator == ">=")
        release = Version(floor.version).release
        assert Version(PINS[name]).release[: len(release)] == release, name


def test_extras_of_users_require_the_same_versions_as_the_tests():
    extras = PROJECT["optional-dependencies"]
    users = ("bench", "playground")
    assert {line for extra in users for line in extras[extra]} <= {*extras["test"]}
