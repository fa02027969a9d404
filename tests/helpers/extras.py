"""Optional packages in tests: the extras that the README's test command does not install.

A test that needs such a package has a mark, for instance ``@pytest.mark.needs("pandas")``. It is skipped if
the package is missing, and ``-m needs`` selects all tests with the mark. Without the mark a test fails where
the package is missing: none is left out by mistake.
"""

import importlib
import importlib.metadata
import importlib.util
import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

_PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))

# The names of packages, and the extras that install them.
EXTRAS = {"fsspec": "dask"} | {  # Dask requires fsspec
    re.match(r"[\w-]+", requirement)[0].replace("-", "_"): extra
    for extra in ("build", "cli", "cluster-tools", "control", "dask", "polars", "ray", "render", "tables")
    for requirement in _PYPROJECT["project"]["optional-dependencies"][extra]
}


def optional(name):
    """Import a module, or return None if its package is missing."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def missing(*packages):
    """Return why a test that needs packages is skipped: those that are missing, or "" if there are none."""
    absent = [name for name in packages if importlib.util.find_spec(name) is None]
    extras = ",".join(sorted({EXTRAS[name] for name in absent}))
    return f"needs {' and '.join(absent)}: pip install -e '.[{extras}]'" if absent else ""


def all_need(*packages):
    """Return the mark of a module whose tests all need packages, or skip the module where one is missing."""
    __tracebackhide__ = True  # the report shows the line of the module
    reason = missing(*packages)
    if reason:
        pytest.skip(reason, allow_module_level=True)
    return pytest.mark.needs(*packages)


def since(package, version):
    """Return the mark of a test that needs a version of a package: it is skipped with an older one."""
    is_older = Version(importlib.metadata.version(package)) < Version(version)
    return pytest.mark.skipif(is_older, reason=f"needs {package} {version}")
