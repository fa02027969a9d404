"""The playground in the site, which trains in the reader's browser, and links to it with chapters' settings.

The site has it where the environment variable FASTNN_WHEEL names the wheel of fastnn for browsers.
"""

import html
import os
import re
from pathlib import Path

from fastnn.play.export import PYODIDE_URL, export_playground

COMMAND = re.compile(r"^```bash\nfastnn playground --settings '([^'\n]*)'\n```$", re.MULTILINE)
# A lazy frame loads nothing until its reader opens the details.
FIGURE = (
    '\n\n<details class="playground"><summary>Run it here</summary>'
    '<iframe src="{0}playground/#{1}" loading="lazy" title="Playground with the settings of this chapter">'
    "</iframe></details>"
    '\n\n<p><a href="{0}playground/#{1}">Open it in this browser</a></p>'
)


def add_links(text, name):
    """Return the Markdown `text` of a page with a live figure and a link after each playground command."""
    up = "../" * name.count("/")
    return COMMAND.sub(lambda match: match[0] + FIGURE.format(up, html.escape(match[1])), text)


def on_source_read(app, name, content):
    """Add the links to a page that Sphinx has read."""
    if app.config.playground_wheel:
        content[0] = add_links(content[0], name)


def on_build_finished(app, error):
    """Write the playground to the folder of the site."""
    if app.config.playground_wheel and error is None:
        folder = Path(app.outdir) / "playground"
        export_playground(folder, Path(app.config.playground_wheel), app.config.pyodide_url)


def setup(app):
    """Register the extension with Sphinx."""
    app.add_config_value("playground_wheel", os.environ.get("FASTNN_WHEEL", ""), "env")
    app.add_config_value("pyodide_url", PYODIDE_URL, "env")
    app.connect("source-read", on_source_read)
    app.connect("build-finished", on_build_finished)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
