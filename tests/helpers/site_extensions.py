"""Extensions of the documentation's site, imported without Sphinx."""

import importlib.util
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "docs" / "_extensions"


def extension(name):
    """Import an extension from its file and return the module."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
