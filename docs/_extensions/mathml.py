"""Formulas are translated to MathML by the build: every browser draws them, without a script or a network."""

import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
# The name of a function, unless an opening parenthesis, an index or an exponent follows.
FUNCTION = re.compile(r"\\(log|tanh|max|exp)(?=\s*[^\s(^_}])")
# A minus after another operator, unless a bracket closes before it: a sign, without a difference's space.
SIGN = re.compile(r"(<mo[^>]*>(?!&#x000(?:29|7C);|[\])}])[^<]*</mo>(?:<mspace[^>]*/>)?)<mo>&#x02212;</mo>")
BOX = re.compile(r'<menclose notation="box">(.*?)</menclose>')


def to_mathml(latex, display):
    """Return a formula as MathML, with the spaces that TeX would set.

    Not all browsers draw the frame of a ``menclose``: the site's style sheet draws it.
    """
    formula = convert(FUNCTION.sub(r"\g<0>\\,", latex), display=display)
    formula = SIGN.sub(r'\1<mo form="prefix">&#x02212;</mo>', formula)
    return BOX.sub(r'<mrow class="boxed">\1</mrow>', formula)


def visit_math(translator, node, display="inline"):
    """Append a formula to a page; a command that the translation does not know is a warning."""
    # On a narrow page, the parts of a block stand below one another.
    parts = node.astext().split(r"\qquad") if display == "block" else [node.astext()]
    formula = "".join(to_mathml(part.strip(), display) for part in parts)
    if "\\" in formula:
        LOGGER.warning("a formula has an unknown command: %s", formula, location=node)
    # Word joiner: no line begins with the comma or full stop after a formula.
    translator.body.append(
        f"{formula}&#8288;" if display == "inline" else f'<div class="math">{formula}</div>'
    )
    raise nodes.SkipNode


def visit_math_block(translator, node):
    """Append a formula on lines of its own."""
    visit_math(translator, node, "block")


def setup(app):
    """Register the renderer with Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
