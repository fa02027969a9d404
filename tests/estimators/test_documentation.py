"""The link to the documentation in scikit-learn's HTML representation of estimators."""

import importlib.metadata
import re
import tomllib
from email.message import Message
from pathlib import Path

import pytest
from sklearn.utils import estimator_html_repr

import fastnn
from fastnn.estimators.documentation import DISTRIBUTION, documentation_url

ROOT = Path(__file__).parents[2]
ESTIMATORS = [
    fastnn.MLPClassifier(),
    fastnn.MLPRegressor(),
    fastnn.MLPEnsembleClassifier(),
    fastnn.MLPEnsembleRegressor(),
]


@pytest.fixture
def publish(monkeypatch):
    """Return a function that sets the project URLs, "Label, address", of the installed distribution.

    None stands for a distribution that is not installed.
    """

    def set_urls(urls):
        def metadata(name):
            if name != DISTRIBUTION or urls is None:
                raise importlib.metadata.PackageNotFoundError(name)
            message = Message()
            for url in urls:
                message["Project-URL"] = url
            return message

        monkeypatch.setattr(importlib.metadata, "metadata", metadata)
        documentation_url.cache_clear()

    yield set_urls
    documentation_url.cache_clear()


def links(estimator):
    return re.findall(r'class="sk-estimator-doc-link[^>]*href="([^"]*)"', estimator_html_repr(estimator))


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_estimators_link_to_the_documentation(publish, estimator):
    publish(["Homepage, https://example.org", "Documentation, https://example.org/fastnn/"])
    assert links(estimator)[0] == "https://example.org/fastnn/"


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
@pytest.mark.parametrize("urls", [[], ["Homepage, https://example.org"], None], ids=str)
def test_without_an_address_there_is_no_link(publish, estimator, urls):
    publish(urls)
    assert documentation_url() == ""
    assert links(estimator) == []


def test_the_address_of_the_documentation_is_used_literally(publish):
    publish(["docs,https://example.org/{a},b?c=%20"])
    assert documentation_url() == "https://example.org/{a},b?c=%20"
    assert fastnn.MLPClassifier()._get_doc_link() == documentation_url()


def test_a_subclass_outside_of_fastnn_has_no_link(publish):
    publish(["Documentation, https://example.org"])

    class Mine(fastnn.MLPClassifier):
        pass

    assert links(Mine()) == []


def test_the_distribution_is_named_as_in_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["name"] == DISTRIBUTION
