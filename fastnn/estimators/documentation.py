"""The address of the documentation, which scikit-learn's HTML representation of an estimator links to."""

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
        Empty where ``[project.urls]`` in pyproject.toml has no such entry, or nothing is installed.
    """
    try:
        entries = importlib.metadata.metadata(DISTRIBUTION).get_all("Project-URL") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    urls = {label.strip().lower(): url.strip() for label, _, url in (e.partition(",") for e in entries)}
    return next((urls[label] for label in _LABELS if label in urls), "")


class DocumentationLinkMixin:
    """Lets scikit-learn link an estimator's HTML representation to fastnn's documentation.

    Without an address there is no link: scikit-learn leaves an empty one out.
    """

    # Estimators of other modules, such as subclasses of a user's own, get no link.
    _doc_link_module = "fastnn"

    @property
    def _doc_link_template(self) -> str:
        # scikit-learn fills in names by str.format.
        return documentation_url().replace("{", "{{").replace("}", "}}")
