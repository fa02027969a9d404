#!/usr/bin/env python3
# /// script
# dependencies = ["nox>=2025.2.9"]
# ///
"""Tasks of development: `nox -s lint` creates an environment, and runs the step `lint` of .ci/run in it."""

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"


def run_step(session: nox.Session, step: str) -> None:
    """Run a step of .ci/run with the programs of the session's environment."""
    session.run("bash", ".ci/run", step, external=True)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on all cores: nox -s tests -- tests/test_model.py."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "-n", "auto", "--dist", "worksteal", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style, types, the order of imports, spelling, and the schemas of workflows."""
    session.install("-e", ".[cli,dask,lint,polars,test]")
    run_step(session, "lint")


@nox.session(python="3.11", default=False)
def oldest(session: nox.Session) -> None:
    """Test with the oldest admitted versions, and vectors of 16 bytes."""
    session.install("-r", "tests/oldest.txt", "-e", ".")
    run_step(session, "narrow_vectors")


@nox.session(default=False)
def wide(session: nox.Session) -> None:
    """Test with vectors of 64 bytes, or 32 where 64 is this processor's width, and checks of every index."""
    session.install("-e", ".[test]")
    run_step(session, "wide_vectors")


@nox.session(default=False)
def docs(session: nox.Session) -> None:
    """Build the site of the documentation in docs/_build/html; warnings are errors."""
    session.install("-e", ".[docs]")
    run_step(session, "documentation")


@nox.session(default=False)
def wheels(session: nox.Session) -> None:
    """Build the sdist and the wheels of all platforms in dist, and check them: nox -s wheels -- any."""
    session.install("-e", ".[build,publish]")
    session.run("bash", ".ci/wheels", "dist", *session.posargs, env={"PYTHON": "python"}, external=True)
    run_step(session, "distributions")


if __name__ == "__main__":
    nox.main()
