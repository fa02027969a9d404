"""The versions in oldest.txt, and in the documentation's table, are those that pyproject.toml admits."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LINES = (ROOT / "tests" / "oldest.txt").read_text(encoding="utf-8").splitlines()
PYTHONS = [line.split()[-1] for line in PROJECT["classifiers"] if ":: 3." in line]
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


def test_the_table_of_versions_has_the_oldest_and_the_newest():
    page = (ROOT / "docs" / "use" / "install.md").read_text(encoding="utf-8")
    table = re.search(r"^\| package \| oldest \| newest \|\n.*\n((?:\|.*\n)+)", page, re.MULTILINE)[1]
    rows = [tuple(cell.strip() for cell in row.strip("|").split("|")) for row in table.splitlines()]

    assert PROJECT["requires-python"] == f">={PYTHONS[0]}"
    expected = [("Python", PYTHONS[0], PYTHONS[-1])]
    for requirement in map(Requirement, PROJECT["dependencies"]):
        bounds = {part.operator: part.version for part in requirement.specifier}
        newest = ""
        if "<" in bounds:
            major, minor = Version(bounds["<"]).release
            newest = f"{major}.{minor - 1}"
        expected.append((requirement.name, bounds[">="], newest))
    assert rows == expected
