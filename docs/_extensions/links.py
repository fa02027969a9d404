"""Links out of docs/, which work on a code host, become links that work on the site.

A link to CONTRIBUTING.md, CHANGELOG.md or examples leads to the page that includes it. A link to another file
or folder of the sources leads to the code host if `source_url` names one, and otherwise becomes plain text.
"""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Pages of the site, from the folder docs/, that include files or a folder of the repository.
PAGES = {
    "CONTRIBUTING.md": "understand/contributing.md",
    "CHANGELOG.md": "understand/changelog.md",
    "examples": "gallery/index.rst",
    "README.md": "index.md",
    "SECURITY.md": "understand/security.md",
}
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(((?!\w+:)[^)#\s]+)(#[^)\s]*)?\)")


def rewrite(text, page, source_url=""):
    """Return the Markdown `text` of a page, with links out of docs/ replaced.

    Parameters
    ----------
    text : str
        Markdown.
    page : pathlib.Path
        File of the page, within docs/.
    source_url : str, default ""
        Address of the sources on a code host, or "".
    """
    docs = ROOT / "docs"

    def replace(match):
        label, target, anchor = match[1], match[2], match[3] or ""
        path = (page.parent / target).resolve()
        if path.is_relative_to(docs) or not path.is_relative_to(ROOT):
            return match[0]
        inner = path.relative_to(ROOT).as_posix()
        if inner in PAGES:
            return f"[{label}](/{PAGES[inner]}{anchor})"
        return f"[{label}]({source_url}/{inner}{anchor})" if source_url else label

    return LINK.sub(replace, text)


def on_source_read(app, name, content):
    """Rewrite the links of a page that Sphinx has read."""
    page = Path(app.env.doc2path(name))
    if page.suffix == ".md":
        content[0] = rewrite(content[0], page, app.config.source_url)


def setup(app):
    """Register the extension with Sphinx."""
    app.add_config_value("source_url", "", "env")
    app.connect("source-read", on_source_read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
