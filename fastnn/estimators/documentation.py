"""Address of the documentation, for the link in scikit-learn's HTML representation of an estimator."""

from __future__ import annotations

import functools
import importlib.metadata

__all__ = ["DISTRIBUTION", "DocumentationLinkMixin", "documentation_url"]

DISTRIBUTION = "fastnn-numba"
# Labels of a project URL that package indexes show as the documentation.
_LABELS = ("documentation", "docs")


@functools.cache
def documentation_url() -> str:
    """Return the "Documentation" URL in the metadata of the installed distribution.

    Returns
    -------
    str
        URL; empty if ``[project.urls]`` in pyproject.toml has no such entry, or no distribution is installed.
    """
    try:
        entries = importlib.metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    urls = {label.strip().lower(): url.strip() for label, _, url in (e.partition(",") for e in entries)}
    return next((urls[label] for label in _LABELS if label in urls), "")


class DocumentationLinkMixin:
    """Mixin that links an estimator's HTML representation to fastnn's documentation.

    scikit-learn leaves the link out if the address is empty.
    """

    # Classes of other packages, such as a user's subclasses, get no link.
    _doc_link_module = "fastnn"

    @property
    def _doc_link_template(self) -> str:
        """Address as a template for `str.format`, by which scikit-learn fills in names."""
        return documentation_url().replace("{", "{{").replace("}", "}}")
