"""The playground in the site, which trains in the reader's browser, and links to it with chapters' settings.

The site has it where the environment variable FASTNN_WHEEL names the wheel of fastnn for browsers.
"""

import html
import os
import re
import shutil
from pathlib import Path

from sklearn.datasets import make_moons

from fastnn.play.export import PYODIDE_URL, export_playground

COMMAND = re.compile(r"^```bash\nfastnn playground --settings '([^'\n]*)'\n```$", re.MULTILINE)
# The place of a live figure: a page in the folder of the playground, and its title.
PLACE = re.compile(r"^<!-- live: (\S+) (.+) -->$", re.MULTILINE)
# A lazy frame loads nothing until its reader opens the details.
FIGURE = (
    '\n\n<details class="playground"><summary>Run it here</summary>'
    '<iframe src="{0}" loading="lazy" title="{1}"></iframe></details>\n'
)
LINK = '\n<p><a href="{0}">Open it in this browser</a></p>'
# The command that does the same on the reader's computer, which nobody needs who reads it here.
FOLDED = "<details><summary>The same on your computer</summary>\n\n{0}\n\n</details>"
# What leads to the page itself, where the site has one: on the home page, and at the head of the description.
LEADING = {
    "index": ("**[Play](use/playground.md)**", '<a href="playground/index.html"><strong>Play</strong></a>'),
    "use/playground": (
        "# Playground\n",
        '# Playground\n\n<p><a href="../playground/index.html">Play in this browser</a></p>\n',
    ),
}
STATIC = Path(__file__).parents[1] / "_static"


def add_links(text, name):
    """Return the Markdown `text` of a page with a live figure and a link after each playground command."""
    folder = "../" * name.count("/") + "playground/"

    def add(match):
        address = f"{folder}#{html.escape(match[1])}"
        figure = FIGURE.format(address, "Playground with the settings of this chapter")
        return figure + LINK.format(address) + "\n\n" + FOLDED.format(match[0])

    if name in LEADING:
        text = text.replace(*LEADING[name], 1)
    return PLACE.sub(lambda match: FIGURE.format(folder + match[1], match[2]), COMMAND.sub(add, text))


def on_source_read(app, name, content):
    """Add the links to a page that Sphinx has read."""
    if app.config.playground_wheel:
        content[0] = add_links(content[0], name)


def write_pages(folder, wheel, pyodide_url):
    """Write the playground and its further pages, the figures of a line and of a valley, to a folder."""
    export_playground(folder, wheel, pyodide_url)
    # The first tag has the addresses of the wheel and of Pyodide.
    tag = re.search("<html.*?>", (folder / "index.html").read_text(encoding="utf-8"))[0]
    for name in ("line", "valley"):
        page = (STATIC / f"{name}.html").read_text(encoding="utf-8").replace('<html lang="en">', tag)
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
        shutil.copyfile(STATIC / f"{name}.js", folder / f"{name}.js")
    X, y = make_moons(200, noise=0.20, random_state=0)  # the samples of the chapter
    samples = f"export const X = {X.round(4).tolist()};\nexport const y = {y.tolist()};\n"
    (folder / "moons.js").write_text(samples, encoding="utf-8")


def on_build_finished(app, error):
    """Write the pages to the folder of the site."""
    if app.config.playground_wheel and error is None:
        write_pages(
            Path(app.outdir) / "playground", Path(app.config.playground_wheel), app.config.pyodide_url
        )


def setup(app):
    """Register the extension with Sphinx."""
    app.add_config_value("playground_wheel", os.environ.get("FASTNN_WHEEL", ""), "env")
    app.add_config_value("pyodide_url", PYODIDE_URL, "env")
    app.connect("source-read", on_source_read)
    app.connect("build-finished", on_build_finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
