"""After a build, every page is checked.

A link that leads nowhere, a text that no reader should see, and a file from a network are warnings.
"""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Paths of the machine that builds the site; a library's warning, as Python prints it; a formatter's comment.
UNWANTED = re.compile(
    rf"{re.escape(str(Path(__file__).parents[2]))}/|{re.escape(str(Path.home()))}/\S|site-packages/"
    r"|\b\w+Warning: |# fmt: (?:skip|off|on)\b"
)


class Page(HTMLParser):
    """The text of a page, its links, the files that it loads, and the anchors that others may link to."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors, self.parts, self.text = set(), set(), set(), ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Collect an element's link and identifier."""
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.targets.add(value)
                if name == "src" or (tag == "link" and ("rel", "canonical") not in attributes):
                    self.parts.add(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)

    def handle_data(self, data):
        """Collect text."""
        self.text += data

    @property
    def unwanted(self):
        """The texts on the page that no reader should see, with what surrounds them."""
        return [self.text[max(m.start() - 40, 0) : m.end() + 40] for m in UNWANTED.finditer(self.text)]

    @property
    def remote(self):
        """The addresses that the page loads from a network."""
        return sorted(part for part in self.parts if urlsplit(part).netloc)


def list_pages(folder):
    """Return the pages in a folder by their paths."""
    paths = (path.resolve() for path in sorted(Path(folder).rglob("*.html")))
    return {
        path: Page(path.read_text(encoding="utf-8"))
        for path in paths
        if not {"_static", "lite"} & {*path.parts}
    }


def broken_links(pages):
    """Yield (path, target) for every link between pages that leads nowhere."""
    for path, page in pages.items():
        for target in sorted(page.targets):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                continue
            to = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchors = pages[to].anchors if to in pages else {parts.fragment}
            if not to.exists() or (parts.fragment and unquote(parts.fragment) not in anchors):
                yield path, target


def on_build_finished(app, exception):
    """Warn about what is wrong with a page, unless the build has failed."""
    if exception is None and app.builder.format == "html":
        from sphinx.util import logging

        logger = logging.getLogger(__name__)
        pages, top = list_pages(app.outdir), Path(app.outdir).resolve()
        for path, target in broken_links(pages):
            logger.warning("%s links to %s, which does not exist", path.relative_to(top), target)
        for path, page in pages.items():
            for text in page.unwanted:
                logger.warning("%s shows %r", path.relative_to(top), text)
            for part in page.remote:
                logger.warning("%s loads %s from a network", path.relative_to(top), part)


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("build-finished", on_build_finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
