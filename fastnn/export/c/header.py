"""Parts that C headers in floating-point numbers and in integers share: frame, first comment, classes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..description import ModelDescription
from .text import comment, safe_in_comment, string

__all__ = [
    "N_SAMPLES",
    "buffers",
    "class_names",
    "class_names_size",
    "decision",
    "framed",
    "introduction",
    "some_samples",
]

# Number of samples in the self-test of a header.
N_SAMPLES = 3


def introduction(
    description: ModelDescription, name: str, dtype: str, facts: Sequence[tuple[str, str]]
) -> str:
    """Return the first comment of a header: the network, how it is called, memory and operations.

    Parameters
    ----------
    description : ModelDescription
        Model.
    name : str
        Prefix of all names.
    dtype : str
        Name of the data type.
    facts : sequence of (str, str)
        Headings with a text each, which is wrapped; a text may have several lines.
    """
    from ... import __version__

    member, number = description.members[0], len(description.members)
    sizes = " - ".join(map(str, member.layers_dim))
    activations = ", ".join(layer.activation for layer in member.layers)
    lines = [
        f"{name}: neural network in {dtype}, exported by fastnn {__version__} from {description.source}.",
        "",
    ]
    network = [f"{sizes} units, activations {activations}, output {member.output}"]
    if number > 1:
        network.append(f"mean of {number} networks")
    facts = [("Network", "\n".join(network)), *facts]
    if description.feature_names is not None:
        names = "; ".join(f"x[{k}] {safe_in_comment(one)}" for k, one in enumerate(description.feature_names))
        facts.append(("Inputs", names))
    if description.kind == "classes":
        names = "; ".join(f"{k} {safe_in_comment(str(one))}" for k, one in enumerate(description.class_list))
        facts.append(("Classes", names))
    for heading, text in facts:
        first = f"{heading:<12}"
        for line in text.splitlines():
            if line.startswith(" "):  # code
                lines.append(f"{first}{line.strip()}")
            else:
                lines += textwrap.wrap(
                    line, 104, initial_indent=first, subsequent_indent=" " * 12, break_long_words=False,
                    break_on_hyphens=False,
                )  # fmt: skip
            first = " " * 12
    return comment(lines)


def class_names(description: ModelDescription, name: str) -> str:
    """Return the definition of the classes' names; empty text for labels and numbers."""
    if description.kind != "classes":
        return ""
    names = ",\n".join(f"    {string(str(one))}" for one in description.class_list)
    return (
        f"/* Names of the classes, UTF-8. */\n"
        f"static const char *const {name}_classes[{len(description.class_list)}] = {{\n{names}\n}};\n"
    )


def class_names_size(description: ModelDescription) -> int:
    """Return the bytes of the classes' names, each with a final NUL and a pointer of 4 bytes."""
    return sum(len(str(one).encode("utf-8", "replace")) + 5 for one in description.class_list)


def framed(name: str, first: str, includes: Sequence[str], sections: Sequence[str]) -> str:
    """Return a header with its include guard."""
    guard = f"{name.upper()}_H"
    included = "".join(f"#include <{one}>\n" for one in includes)
    body = "\n".join(section for section in sections if section)
    return f"{first}\n#ifndef {guard}\n#define {guard}\n\n{included}\n{body}\n#endif /* {guard} */\n"


def some_samples(X: NDArray[Any]) -> NDArray[Any]:
    """Return the samples of the self-test: the first, one from the middle and the last."""
    return X[np.linspace(0, len(X) - 1, N_SAMPLES).astype(int)]


def buffers(hidden: Sequence[int]) -> dict[str, int]:
    """Return the sizes of the buffers "a" and "b", which hold the units of the hidden layers in turn."""
    sizes = {"a": max(hidden[::2], default=0), "b": max(hidden[1::2], default=0)}
    return {name: size for name, size in sizes.items() if size}


def decision(
    description: ModelDescription, name: str, kind: str, argument: str, compute: str, n: int, limit: str,
    prepared: tuple[str, list[str]] | None = None,
) -> str:  # fmt: skip
    """Return the function that predicts the class or the labels.

    Parameters
    ----------
    description : ModelDescription
        Model that predicts classes or labels.
    name : str
        Prefix of all names.
    kind : str
        C type of samples and results.
    argument : str
        Name of the sample.
    compute : str
        Function whose `n` results decide: the highest, or each that is above `limit`.
    n : int
        Number of these results; 1 for a score above which the second of two classes is predicted.
    limit : str
        Literal of the limit.
    prepared : (str, list of str), optional
        Name of what `compute` takes, by default the sample, and the statements that compute it.
    """
    source, statements = prepared or (argument, [])
    before = "".join(f"{line}\n" for line in statements)
    begin = f"    {kind} s[{n}];\n{before}    {compute}({source}, s);\n"
    if description.kind == "labels":
        return (
            f"/* Labels of a sample: {n} times 0 or 1. */\n"
            f"static inline void {name}_predict(const {kind} *{argument}, unsigned char *labels)\n{{\n{begin}"
            f"    for (int k = 0; k < {n}; k++)\n        labels[k] = s[k] > {limit};\n}}\n"
        )
    decide = f"    return s[0] > {limit};\n"
    if len(description.class_list) == 1:
        begin, decide = f"    (void){argument};\n", "    return 0;\n"
    elif n > 1:
        decide = (
            f"    int best = 0;\n    for (int k = 1; k < {n}; k++)\n        if (s[k] > s[best])\n"
            "            best = k;\n    return best;\n"
        )
    return (
        f"/* Number of the class of a sample; its name is {name}_classes[number]. */\n"
        f"static inline int {name}_predict(const {kind} *{argument})\n{{\n{begin}{decide}}}\n"
    )
