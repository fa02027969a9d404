"""The API reference shows the members that fastnn defines, not those inherited from other packages."""


def defined_in_fastnn(member):
    """Return whether a method, property or attribute is defined in fastnn."""
    function = getattr(member, "fget", None) or getattr(member, "__func__", None) or member
    return str(getattr(function, "__module__", "")).startswith("fastnn")


def skip_member(app, what, name, member, skip, options):
    """Return True for members to leave out, None to let autodoc decide."""
    return True if what == "class" and not defined_in_fastnn(member) else None


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("autodoc-skip-member", skip_member)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
