"""The documentation's site: what its sources name exists, and links work on a code host and on the site."""

import importlib.util
import re
from pathlib import Path

import pytest

import fastnn

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def links():
    """Return the extension that rewrites links, as a module."""
    spec = importlib.util.spec_from_file_location("links", DOCS / "_extensions" / "links.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_reference_lists_every_public_name_once():
    listed = []
    for page in sorted((DOCS / "refer").glob("*.md")):
        for block in re.findall(
            r"autosummary::\n(?: +:.*\n)*\n((?: +\w+\n)+)", page.read_text(encoding="utf-8")
        ):
            listed += block.split()
    assert sorted(listed) == sorted({*fastnn.__all__, *fastnn.export.__all__} - {"__version__", "export"})


@pytest.mark.parametrize("section", ["learn", "use", "understand", "refer"])
def test_every_page_of_a_section_is_in_its_contents(section):
    index = (DOCS / section / "index.md").read_text(encoding="utf-8")
    listed = re.search(r"```\{toctree\}\n(?::.*\n)*\n(.*?)```", index, re.DOTALL)[1].split()
    pages = {path.stem for path in (DOCS / section).glob("*.md")} - {"index"}
    assert pages == {name for name in listed if not name.startswith("../")}
    for name in listed:
        assert (DOCS / section / f"{name}.md").exists(), name


def test_every_page_at_the_top_is_in_a_section():
    listed = "".join((DOCS / section / "index.md").read_text("utf-8") for section in ("use", "understand"))
    for page in DOCS.glob("*.md"):
        assert page.stem == "index" or f"\n../{page.stem}\n" in listed, page.name


@pytest.mark.parametrize(
    ("text", "rewritten", "at_host"),
    [
        ("[a](training.md)", None, None),
        ("[a](https://x.y/../z)", None, None),
        ("![a](../fastnn/a.png)", None, None),
        (
            "[Contributing](../CONTRIBUTING.md#style)",
            "[Contributing](/understand/contributing.md#style)",
            None,
        ),
        ("[`fastnn/`](../fastnn)", "`fastnn/`", "[`fastnn/`](https://host/fastnn)"),
        ("[a [b]](../bench/cases.py) c", "a [b] c", "[a [b]](https://host/bench/cases.py) c"),
    ],
)
def test_links_out_of_the_site(links, text, rewritten, at_host):
    page = DOCS / "architecture.md"
    assert links.rewrite(text, page) == (rewritten or text)
    assert links.rewrite(text, page, "https://host") == (at_host or rewritten or text)
