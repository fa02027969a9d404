"""Docstrings of the API reference: inherited members of other packages are left out, shapes are escaped."""

import re

# A fitted attribute in a shape, such as ``(n_features_in_,)``: reStructuredText takes it for a link's name.
IN_A_SHAPE = re.compile(r"(?<=[( ])([a-z]\w*)_(?=[,)])")


def is_defined_in_fastnn(member):
    """Return whether a method, property or attribute is defined in fastnn."""
    function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
    return str(getattr(function, "__module__", "")).startswith("fastnn")


def skip_member(app, what, name, member, skip, options):
    """Return True for members to leave out, None to let autodoc decide."""
    return True if what == "class" and not is_defined_in_fastnn(member) else None


def escape_shapes(app, what, name, thing, options, lines):
    """Escape names with a last underscore in the shapes of arguments and attributes."""
    for k, line in enumerate(lines):
        if " : " in line and ("array" in line or "list" in line):
            head, colon, kind = line.partition(" : ")
            lines[k] = head + colon + IN_A_SHAPE.sub(r"\1\\_", kind)


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("autodoc-skip-member", skip_member)
    app.connect("autodoc-process-docstring", escape_shapes, priority=900)  # after numpydoc
    return {"parallel_read_safe": True, "parallel_write_safe": True}
