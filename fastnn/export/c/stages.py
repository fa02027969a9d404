"""C code of stages, which turn the features of a sample into the inputs of networks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stages import FLAG, LINEAR, MISSING, SMOOTH, Stage
from .text import array, literal

__all__ = ["stage_bytes", "stage_code"]

_STAGE = """\
/* Turns the features of a sample into {what}.{kinds} */
static inline void {function}(const {kind} *x, {kind} *u)
{{
    for (int k = 0; k < {n}; k++) {{
        {kind} v = x[{source}];
{body}        u[k] = v;
    }}
}}
"""

_KINDS = """
 * Kinds: 0 a scaled feature, 1 one that is squashed too, 2 an indicator of NaN, 3 one of two values."""


def stage_code(stage: Stage, function: str, what: str, kind: str) -> str:
    """Return the function of a stage, and the arrays that it reads.

    Parameters
    ----------
    stage : Stage
        Stage in the dtype of the header.
    function : str
        Name of the function, with which the names of the arrays begin.
    what : str
        What the outputs are, for the comment.
    kind : str
        C type of the numbers.
    """
    arrays, f = [], "f" if kind == "float" else ""

    def number(name: str, values: NDArray[Any]) -> str:
        """Return the text of a number of output k: a literal if all are equal, else an entry of an array."""
        if (values == values[0]).all():
            return literal(values[0])
        c_type = kind if values.dtype.kind == "f" else "int"
        arrays.append(array(c_type, f"{function}_{name}", values))
        return f"{function}_{name}[k]"

    source = "k" if stage.is_elementwise else number("sources", stage.sources.astype(np.int32))
    zero, one = f"0.0{f}", f"1.0{f}"
    scaled = [*_filled(stage, number)]
    center, scale, offset = (number(name, stage.numbers[name]) for name in ("center", "scale", "offset"))
    if not (center == zero and scale == one):
        scaled.append(f"v = (v - {center}) / {scale};" if center != zero else f"v /= {scale};")
    if offset != zero:
        scaled.append(f"v += {offset};")
    most = np.finfo(stage.low.dtype).max
    if (stage.low > -most).any() or (stage.high < most).any():
        low, high = number("low", stage.low), number("high", stage.high)
        scaled += [f"const {kind} low = {low}, high = {high};", "v = v < low ? low : v > high ? high : v;"]
    kinds = set(stage.kinds.tolist())
    code = number("kinds", stage.kinds.astype(np.int32))
    smooth = []
    if SMOOTH in kinds:
        limit = number("limit", stage.limit)
        smooth = [f"const {kind} r = v / {limit};", f"v /= sqrt{f}({one} + r * r);"]
    cases: list[tuple[str, list[str]]] = []
    if MISSING in kinds:
        cases.append((f"{code} == {MISSING}", [f"v = v != v ? {one} : {zero};"]))
    if FLAG in kinds:
        fill = number("fill", stage.fill)
        cases.append((f"{code} == {FLAG}", [f"v = v != v ? {fill} : v == {center} ? {one} : -{one};"]))
    if {LINEAR, SMOOTH} & kinds:
        lines = list(scaled)
        if SMOOTH in kinds and LINEAR in kinds:
            lines += [f"if ({code} == {SMOOTH}) {{", *(f"    {line}" for line in smooth), "}"]
        elif SMOOTH in kinds:
            lines += smooth
        cases.append(("", lines))
    body = _branches(cases)
    # An array that several statements read is defined once.
    definitions = "".join(dict.fromkeys(arrays))
    n = len(stage.sources)
    texts = {"what": what, "function": function, "kind": kind, "n": n, "source": source, "body": body}
    return definitions + _STAGE.format(kinds=_KINDS if len(kinds) > 1 else "", **texts)


def _filled(stage: Stage, number: Any) -> list[str]:
    """Return the statement that replaces NaN by the fill, if there is one."""
    scaled = (stage.kinds == LINEAR) | (stage.kinds == SMOOTH)
    if not scaled.any() or np.isnan(stage.fill[scaled]).all():
        return []
    return [f"if (v != v)\n    v = {number('fill', stage.fill)};"]


def _branches(cases: list[tuple[str, list[str]]]) -> str:
    """Return the statements of the cases, each with its condition; the last may have none."""
    if len(cases) == 1:
        return _indented(cases[0][1], 2)
    text = ""
    for position, (condition, lines) in enumerate(cases):
        head = f"if ({condition}) {{" if condition and position < len(cases) - 1 else "{"
        text += ("        " if position == 0 else " else ") + head + "\n" + _indented(lines, 3) + "        }"
    return text + "\n"


def _indented(lines: list[str], levels: int) -> str:
    """Return statements, each on a line of its own."""
    return "".join("    " * levels + line + "\n" for text in lines for line in text.split("\n"))


def stage_bytes(stage: Stage, itemsize: int) -> int:
    """Return the bytes of the arrays of a stage, at most."""
    return len(stage.sources) * (8 + itemsize * len(stage.numbers))
