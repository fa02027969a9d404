"""The chapters of Learn as notebooks to download, made by the build from the text of the pages.

A page that begins with a kernel's name is Markdown with cells of code. A reader sees all cells but those with
the tag `remove-cell`, which check numbers in the text, and those with the tag `remove-input`, which Learn has
not.
"""

import re
from pathlib import Path
from typing import NamedTuple

CELL = re.compile(r"^(`{3,})\{code-cell\} python\n((?::[^\n]*\n)*)(.*?)^\1$", re.DOTALL | re.MULTILINE)
# What MyST has and a notebook's Markdown has not, and what replaces it. Exercises and solutions get headings,
# by which a reader folds and unfolds them.
MARKDOWN = (
    (r"\A---\n[^#]*\n---\n", ""),
    (r"^\*\*(\d+)\.\*\*\s", r"#### Exercise \1\n\n"),
    (r"^\*\*(\d+)\. (.*?)\.\*\*\s", r"#### Exercise \1: \2\n\n"),
    (r"^<details.*<summary>(.*)</summary>$", r"##### \1"),
    (r"^</details>$", ""),
    (r"\{[\w:]+\}(?=`)", ""),
    (r"(?<!!)\[([^\]]*)\]\((?!\w+:)[^)]*\)", r"\1"),  # links to other pages
)
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
LINK = '<p class="notebook"><a href="{0}" download>Download this chapter as a notebook</a></p>'


class Cell(NamedTuple):
    """A cell of code: the number of its first line on the page, its tags and its code."""

    line: int
    tags: set[str]
    code: str

    @property
    def is_visible(self):
        """True if a reader sees the code."""
        return not self.tags & {"remove-cell", "remove-input"}


def parts(text):
    """Yield the parts of a page in order: Markdown as str, code as `Cell`."""
    end = 0
    for match in CELL.finditer(text):
        options, code = match[2], match[3]
        yield text[end : match.start()]
        yield Cell(text[: match.start(3)].count("\n") + 1, set(re.findall(r"[\w-]+", options)), code)
        end = match.end()
    yield text[end:]


def cells(text):
    """Return the cells of code of a page."""
    return [part for part in parts(text) if isinstance(part, Cell)]


def notebook(text):
    """Return a page as a notebook of format 4.5: what a reader sees, without outputs."""
    found = []
    for part in parts(text):
        if not isinstance(part, Cell):
            for pattern, replacement in MARKDOWN:
                part = re.sub(pattern, replacement, part, flags=re.MULTILINE)
            for section in re.split(r"^(?=##+ )", part, flags=re.MULTILINE):
                folded = {"jp-MarkdownHeadingCollapsed": True} if section.startswith("##### ") else {}
                if section.strip():
                    found.append({"cell_type": "markdown", "metadata": folded, "source": section.strip()})
        elif part.is_visible:
            folded = {"jupyter": {"source_hidden": True}} if "hide-input" in part.tags else {}
            code = {"source": part.code.rstrip(), "outputs": [], "execution_count": None}
            found.append({"cell_type": "code", "metadata": folded, **code})
    numbered = [{"id": f"cell-{k}", **cell} for k, cell in enumerate(found)]
    return {"nbformat": 4, "nbformat_minor": 5, "metadata": METADATA, "cells": numbered}


def source(app, name):
    """Return the file of a chapter that is offered as a notebook, or None for any other page."""
    page = Path(app.srcdir, f"{name}.md")
    is_chapter = name.startswith("learn/") and "file_format: mystnb" in page.read_text(encoding="utf-8")
    return page if is_chapter else None


def on_page(app, name, template, context, doctree):
    """Link a chapter's notebook below its title."""
    if doctree and source(app, name):
        link = LINK.format(f"{Path(name).name}.ipynb")
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{link}", 1)


def on_build_finished(app, exception):
    """Write the notebooks beside the pages; a page that shows other code than its cells have is a warning."""
    if exception is None and app.builder.format == "html":
        import nbformat
        from built_pages import Page
        from sphinx.util import logging

        for name in app.env.found_docs:
            if page := source(app, name):
                text = page.read_text(encoding="utf-8")
                written = nbformat.from_dict(notebook(text))
                nbformat.validate(written)
                nbformat.write(written, Path(app.outdir, f"{name}.ipynb"))
                shown = Page(Path(app.outdir, f"{name}.html").read_text(encoding="utf-8")).text
                for cell in cells(text):
                    if (cell.code.strip() in shown) != cell.is_visible:
                        logging.getLogger(__name__).warning(
                            "%s shows other code than its cell at line %d", page, cell.line
                        )


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("html-page-context", on_page)
    app.connect("build-finished", on_build_finished, priority=400)  # before links are followed
    return {"parallel_read_safe": True, "parallel_write_safe": True}
