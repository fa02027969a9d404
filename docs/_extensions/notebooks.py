"""The chapters of Learn as notebooks to download, made by the build from the text of the pages.

Where the site has the wheel of fastnn for browsers, JupyterLite runs them and the gallery's programs in the
reader's browser.

A page that begins with a kernel's name is Markdown with cells of code. A reader sees all cells but those with
the tag `remove-input`, which Learn has not. Comments of HTML that begin with `check` are code that checks
numbers in the text: the tests run it, the build does not, and no reader sees it, here or on the site.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

CELL = re.compile(
    r"^(`{3,})\{code-cell\} python\n((?::[^\n]*\n)*)(.*?)^\1$|^<!-- (check\b[^\n]*)\n(.*?)^-->$",
    re.DOTALL | re.MULTILINE,
)
# What MyST has and a notebook's Markdown lacks, and what replaces it. Exercises and solutions get headings,
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
DOWNLOAD = '<a href="{0}" download>Download this chapter as a notebook</a>'
RUN = '<a href="{0}lite/notebooks/index.html?path={1}.ipynb">Run in the browser</a>'
KERNEL = "@jupyterlite/pyodide-kernel-extension:kernel"
# The first cell of a notebook that runs in a browser.
INSTALL = {
    "cell_type": "code",
    "execution_count": None,
    "id": "install",
    "metadata": {},
    "outputs": [],
    "source": "%pip install -q fastnn-numba",
}


class Cell(NamedTuple):
    """A cell of code: the number of its first line on the page, its tags and its code."""

    line: int
    tags: set[str]
    code: str

    @property
    def is_visible(self):
        """True if a reader sees the code."""
        return not self.tags & {"check", "remove-input"}


def parts(text):
    """Yield the parts of a page in order: Markdown as str, code as `Cell`."""
    end = 0
    for match in CELL.finditer(text):
        options, code = (2, 3) if match[4] is None else (4, 5)
        yield text[end : match.start()]
        line = text[: match.start(code)].count("\n") + 1
        yield Cell(line, set(re.findall(r"[\w-]+", match[options])), match[code])
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
    """Link a chapter's notebook below its title, and what runs in the browser."""
    if doctree is None:
        return
    is_chapter = source(app, name) is not None
    links = [DOWNLOAD.format(f"{Path(name).name}.ipynb")] if is_chapter else []
    if app.config.playground_wheel and (is_chapter or Path(name).name.startswith("plot_")):
        links.append(RUN.format("../" * name.count("/"), name))
    if links:
        text = f'</h1>\n<p class="notebook">{" · ".join(links)}</p>'
        context["body"] = context["body"].replace("</h1>", text, 1)


def build_jupyterlite(app):
    """Build JupyterLite with the notebooks of chapters and programs, and with the wheel for browsers."""
    with tempfile.TemporaryDirectory() as folder:
        contents = Path(folder, "contents")
        for name in app.env.found_docs:
            path = Path(app.outdir if source(app, name) else app.srcdir, f"{name}.ipynb")
            if path.exists():
                content = json.loads(path.read_text(encoding="utf-8"))
                content["cells"].insert(0, INSTALL)
                (contents / name).parent.mkdir(parents=True, exist_ok=True)
                (contents / f"{name}.ipynb").write_text(json.dumps(content), encoding="utf-8")
        settings = {KERNEL: {"pyodideUrl": f"{app.config.pyodide_url}pyodide.mjs"}}
        data = {"jupyter-lite-schema-version": 0, "jupyter-config-data": {"litePluginSettings": settings}}
        Path(folder, "jupyter-lite.json").write_text(json.dumps(data), encoding="utf-8")
        options = {
            "apps": "notebooks",
            "contents": contents,
            "lite-dir": folder,
            "output-dir": Path(app.outdir, "lite"),
            "piplite-wheels": Path(app.config.playground_wheel).resolve(),
        }
        command = [sys.executable, "-m", "jupyter", "lite", "build", "--no-sourcemaps"]
        command += [f"--{name}={value}" for name, value in options.items()]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)


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
        if app.config.playground_wheel:
            build_jupyterlite(app)


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("html-page-context", on_page)
    app.connect("build-finished", on_build_finished, priority=400)  # before links are followed
    return {"parallel_read_safe": True, "parallel_write_safe": True}
