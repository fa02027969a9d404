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
def built_pages():
    return extension("built_pages")


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
    ("words", "page"), [("Learning rate", "training"), ("Missing values", "tables"), ("Categories", "tables")]
)
def test_a_search_finds_the_heading_of_an_explanation(words, page):
    """The site's search ranks a heading that equals the words before all texts that contain them."""
    assert f"# {words}\n" in (DOCS / f"{page}.md").read_text(encoding="utf-8")


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


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("<p>A ConvergenceWarning says so. Set <code>/tmp/cache</code>.</p>", 0),
        ("<pre>)  <span># fmt: skip</span>\nplt.show()</pre>", 1),
        ("<pre>/x/lib/python3.13/site-packages/a/b.py:21: <i>AWarning</i>: No c found.</pre>", 2),
        (f"<pre>{Path(__file__).parents[1]}/docs/a.md</pre>", 1),
        (f"<p>{Path.home()}/.cache</p>", 1),
    ],
)
def test_a_built_page_shows_no_warning_and_no_path_of_the_machine(built_pages, body, number):
    assert len(built_pages.Page(f"<html><body>{body}</body></html>").unwanted) == number


def test_a_built_page_loads_nothing_from_a_network(built_pages):
    page = '<a href="https://x.y">z</a><img src="a.png"><link href="b.css"><script src="//x.y/m.js"></script>'
    assert built_pages.Page(page).remote == ["//x.y/m.js"]


def test_links_of_built_pages_are_followed(built_pages, tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#x">b</a> <a href="b.html#y">b</a> <a href="c.ipynb">c</a>'
    )
    (tmp_path / "b.html").write_text('<h1 id="x">b</h1> <a href="https://x.y/z">z</a> <a href="#x">x</a>')
    broken = built_pages.broken_links(built_pages.pages_in(tmp_path))
    assert [target for _, target in broken] == ["b.html#y", "c.ipynb"]


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


def test_a_thumbnail_shows_the_panels_that_an_example_names(thumbnails, tmp_path):
    """Titles and bars of colours are not panels."""
    pixels = np.full((300, 700, 3), 255, np.uint8)
    pixels[5:15, 40:60] = 0  # a title
    for number, (top, left) in enumerate(((30, 10), (30, 250), (170, 10), (170, 250)), 1):
        pixels[top : top + 100, left : left + 200] = 10 * number
    pixels[30:130, 470:490] = 0  # a bar of colours
    shown = thumbnails.chosen_panels(pixels, [1, 4])
    assert shown.shape == (100, 400 + thumbnails.GAP, 3)
    assert (shown[:, :200] == 10).all()
    assert (shown[:, -200:] == 40).all()

    thumbnails.Image.fromarray(pixels).save(tmp_path / "figure_002.png")
    program = "# sphinx_gallery_thumbnail_number = 2\n# sphinx_gallery_thumbnail_panels = [3]\n"
    picture = thumbnails.thumbnail(program, str(tmp_path / "figure_{:03d}.png"), (640, 448))
    assert np.unique(picture).tolist() == [30]
