"""After a build, every link within the site is followed: a missing page, file or anchor is a warning."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


class Page(HTMLParser):
    """The links of a page, and the anchors that others may link to."""

    def __init__(self, text):
        super().__init__()
        self.targets, self.anchors = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        """Collect an element's link and identifier."""
        for name, value in attributes:
            if name in ("href", "src") and value:
                self.targets.add(value)
            elif name in ("id", "name") and value:
                self.anchors.add(value)


def broken_links(folder):
    """Yield (page, target) for every link between the pages in `folder` that leads nowhere."""
    paths = (path.resolve() for path in sorted(Path(folder).rglob("*.html")))
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in paths if "_static" not in path.parts}
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
    """Warn about broken links, unless the build has failed."""
    if exception is None and app.builder.format == "html":
        for page, target in broken_links(app.outdir):
            LOGGER.warning(
                "%s links to %s, which does not exist", page.relative_to(Path(app.outdir).resolve()), target
            )


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("build-finished", on_build_finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
