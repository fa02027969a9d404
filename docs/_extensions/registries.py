"""The directive ``registry``: a table of the contents of one of fastnn's registries, drawn by the build."""

import dataclasses
import inspect

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

import fastnn
from fastnn.losses import LOSSES
from fastnn.network.initialization import INITIALIZERS
from fastnn.optimizers import OPTIMIZERS
from fastnn.reference.layer import ACTIVATIONS
from fastnn.schedules import SCHEDULES

PUBLIC = set(fastnn.__all__)
REGISTRIES = {
    "activations": ACTIVATIONS,
    "initialisers": INITIALIZERS,
    "losses": LOSSES,
    "optimizers": OPTIMIZERS,
    "schedules": SCHEDULES,
}


def summary(thing):
    """Return the first paragraph of a docstring as one line."""
    return " ".join(inspect.getdoc(thing).split("\n\n")[0].split())


def defaults(thing):
    """Return the parameters of a dataclass with their defaults, as literals."""
    if not dataclasses.is_dataclass(thing):
        return ""
    parts = []
    for field in dataclasses.fields(thing):
        default = field.default if field.default is not dataclasses.MISSING else field.default_factory()
        parts.append(f"``{field.name}={default if not isinstance(default, float) else f'{default:.4g}'}``")
    return ", ".join(parts)


def rows(registry):
    """Return the head and the rows of a registry's table, in reStructuredText."""
    things = REGISTRIES[registry]
    if registry in ("activations", "initialisers"):
        return ("name", "rule"), [(f"``{name}``", summary(thing)) for name, thing in things.items()]
    body = []
    for name, thing in things.items():
        assert thing.__name__ in PUBLIC, f"{thing.__name__} is not public"
        link = f":py:class:`~fastnn.{thing.__name__}`"
        body.append((f"``{name}``", f"{link}: {summary(thing)}", defaults(thing)))
    return ("name", "class and rule", "parameters and defaults"), body


class Registry(SphinxDirective):
    """Draw the table of the registry that the argument names."""

    required_arguments = 1
    option_spec = {"widths": directives.positive_int_list}  # noqa: RUF012

    def run(self):
        """Return the table's node."""
        head, body = rows(self.arguments[0])
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in (head, *body):
            lines += [f"   {'* -' if k == 0 else '  -'} {cell}".rstrip() for k, cell in enumerate(row)]
        node = nodes.container()
        for thing in REGISTRIES[self.arguments[0]].values():
            self.env.note_dependency(inspect.getsourcefile(thing))
        self.state.nested_parse(StringList(lines, source="registry"), self.content_offset, node)
        return node.children


def setup(app):
    """Register the directive with Sphinx."""
    app.add_directive("registry", Registry)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
