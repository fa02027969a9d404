"""Tables that notebooks show of an object in place of its repr."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def make_html_table(caption: str, names: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table with a caption and a row of names; floats have four significant digits."""
    from html import escape  # its table of entities takes a twentieth of the time to a page's first frame

    texts = [[f"{item:.4g}" if isinstance(item, float) else str(item) for item in row] for row in rows]
    head, *body = (
        "".join(f"<{tag}>{escape(text)}</{tag}>" for text in row)
        for tag, row in (("th", names), *(("td", row) for row in texts))
    )
    lines = "".join(f"<tr>{row}</tr>" for row in body)
    return f"<table><caption>{escape(caption)}</caption><tr>{head}</tr>{lines}</table>"
