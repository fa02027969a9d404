"""Address of fastnn's documentation, to which scikit-learn's HTML representation of an estimator links."""

from __future__ import annotations

import functools
import importlib.metadata

__all__ = ["DISTRIBUTION", "DocumentationLinkMixin", "documentation_url"]

DISTRIBUTION = "fastnn-numba"
# Labels by which package indexes recognise the project URL of the documentation.
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
    """Mixin for the link from an estimator's HTML representation to fastnn's documentation.

    If the address is empty, scikit-learn shows no link.
    """

    # Classes of other packages, such as a user's subclasses, get no link.
    _doc_link_module = "fastnn"

    @property
    def _doc_link_template(self) -> str:
        """Address as a template: scikit-learn inserts names by `str.format`, so that braces are doubled."""
        return documentation_url().replace("{", "{{").replace("}", "}}")
