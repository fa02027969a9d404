"""The documentation's site: pages are complete, and links work on a code host and on the site."""

import re
from pathlib import Path

import numpy as np
import pytest
from site_extensions import extension

import fastnn

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def links():
    return extension("links")


@pytest.fixture(scope="module")
def thumbnails():
    return extension("thumbnails")


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


def test_chapters_are_linked_where_a_code_host_shows_them():
    """A code host shows no table of contents; the links by hand have its order."""
    index = (DOCS / "learn" / "index.md").read_text(encoding="utf-8")
    contents = re.search(r"```\{toctree\}\n(?::.*\n)*\n(.*?)```", index, re.DOTALL)[1].split()
    assert re.findall(r"^\d+\. \[.*\]\((\w[\w-]*)\.md\)", index, re.MULTILINE) == contents


def test_every_page_at_the_top_is_in_a_section():
    listed = "".join((DOCS / section / "index.md").read_text("utf-8") for section in ("use", "understand"))
    for page in DOCS.glob("*.md"):
        assert page.stem == "index" or f"\n../{page.stem}\n" in listed, page.name


def test_messages_of_the_page_on_troubleshooting_are_in_the_sources():
    text = (DOCS / "use/troubleshooting.md").read_text(encoding="utf-8")
    messages = re.findall(r"^\| `(.*?)` \| \[", text, re.MULTILINE)
    assert len(messages) >= 10
    folders = (DOCS.parent / "fastnn", DOCS.parent / "kernels")
    sources = "".join(path.read_text(encoding="utf-8") for folder in folders for path in folder.rglob("*.py"))
    sources = re.sub(r'"\n *f?"', "", sources)  # texts that are divided between lines
    for message in messages:
        assert message in sources, message


def test_terms_of_the_glossary_are_in_alphabetical_order():
    text = (DOCS / "use/glossary.md").read_text(encoding="utf-8")
    (entries,) = re.findall(r"^:::\{glossary\}\n(.*?)^:::$", text, re.DOTALL | re.MULTILINE)
    terms = re.findall(r"^\S.*", entries, re.MULTILINE)
    assert terms == sorted(terms, key=str.lower)
    for word in ("gate", "layer", "epoch", "num_passes", "logits", "epsilon", "reg_lambda", "shard", "tile"):
        assert word in terms


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
def test_links_that_leave_the_site_become_text_or_links_to_the_code_host(links, text, rewritten, at_host):
    page = DOCS / "architecture.md"
    assert links.rewrite(text, page) == (rewritten or text)
    assert links.rewrite(text, page, "https://host") == (at_host or rewritten or text)


def figure(height, *parts):
    """Return a mask of the drawn pixels of a figure, with parts from one column to another."""
    picture = np.zeros((height + 20, 1000), bool)
    for left, right in parts:
        picture[10 : height + 10, left:right] = True
    return picture


@pytest.mark.parametrize(
    ("parts", "columns"),
    [
        ([(10, 300), (320, 620), (640, 940)], (10, 300)),  # the first of three panels
        ([(10, 150), (170, 310), (330, 470), (490, 630)], (10, 310)),  # two of four
        ([(10, 300), (312, 330), (340, 640)], (10, 300)),  # without the labels of the second panel
        ([(10, 300)], (10, 300)),  # narrow: as it is
        ([(10, 900)], (10, 900)),  # wide, and in one piece
        ([], (None, None)),
    ],
)
def test_thumbnails_show_the_leading_panels(thumbnails, parts, columns):
    rows, shown = thumbnails.leading_panels(figure(200, *parts), 1.43)
    assert (shown.start, shown.stop) == columns
    assert (rows.start, rows.stop) == ((10, 210) if parts else (None, None))
