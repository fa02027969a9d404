"""C headers that compute in integers: int8 weights, int16 units, int32 sums."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..description import ModelDescription
from ..stages import SMOOTH
from .header import buffers, class_names, class_names_size, decision, framed, introduction, some_samples
from .quantization import QuantizedNetwork, quantize
from .stages import stage_bytes, stage_code
from .text import array, filled, indented, literal

__all__ = ["header"]


def header(description: ModelDescription, name: str, X: NDArray[Any] | None) -> str:
    """Return a model as a C header.

    Parameters
    ----------
    description : ModelDescription
        Model.
    name : str
        Prefix of all names.
    X : array (n, n_inputs) of float64, or None
        Calibration samples, some of which the self-test holds.

    Raises
    ------
    ValueError
        If X is None, or if integers cannot express the model.
    """
    if X is None:
        raise ValueError(
            "dtype='int8' needs X, a few hundred typical samples, to calibrate the ranges of inputs and units"
        )
    if description.is_ensemble:
        raise ValueError(
            "int8 cannot express an ensemble, whose probabilities are averaged: export with "
            "dtype='float32', or export one member of estimators_"
        )
    stages = tuple(stage.converted(np.dtype(np.float32)) for stage in description.stages)
    description = replace(description, stages=stages)
    samples = some_samples(X).astype(np.float32)
    X = description.inputs(X.astype(np.float32)).astype(np.float64) if stages else X
    network = quantize(description, X)
    sections = [
        f"#define {name.upper()}_N_INPUTS {description.n_inputs}\n"
        f"#define {name.upper()}_N_SCORES {network.layers[-1].biases.size}\n"
        "/* The number that an int16 score of 1 stands for. */\n"
        f"#define {name.upper()}_SCORE_SCALE {literal(np.float32(network.layers[-1].scale))}\n",
        class_names(description, name),
        "/* Factors that turn features into int16 inputs. */\n"
        + array("float", f"{name}_input_factors", network.input_factors),
    ]
    tables = {layer.activation: layer.table for layer in network.layers if layer.table is not None}
    for k, layer in enumerate(network.layers, 1):
        sections += [
            array("int8_t", f"{name}_weights_{k}", layer.weights),
            array("int32_t", f"{name}_biases_{k}", layer.biases),
            array("int32_t", f"{name}_factors_{k}", layer.factors),
        ]
    for activation, table in tables.items():
        sections.append(
            f"/* The {activation} of -32768, -32512 .. 32768. */\n"
            + array("int16_t", f"{name}_{activation}", table)
        )
    source, lines = "x", ""
    for k, stage in enumerate(stages, 1):
        sections.append(stage_code(stage, f"{name}_scaled_{k}", "scaled features", "float"))
        lines += f"    float u{k}[{len(stage.sources)}];\n    {name}_scaled_{k}({source}, u{k});\n"
        source = f"u{k}"
    inputs = _INPUTS.replace("STATEMENTS", lines).replace("SOURCE", source)
    for code in (inputs, _SCALED, _LAYER, _TABLE if tables else ""):
        sections.append(filled(code, NAMES=name.upper(), NAME=name))
    sections += [_scores(network, name), _predict(description, network, name)]
    sections.append(_self_test(network, name, samples, description.inputs(samples)))
    first = introduction(description, name, "integers", _facts(description, network, name, X))
    includes = ["math.h", "stdint.h"] if _uses_library(description) else ["stdint.h"]
    return framed(name, first, includes, sections)


def _is_exponential(description: ModelDescription) -> bool:
    return description.members[0].output == "exponential"


def _uses_library(description: ModelDescription) -> bool:
    """Return True if a header calls functions of math.h."""
    return _is_exponential(description) or any((stage.kinds == SMOOTH).any() for stage in description.stages)


_INPUTS = """\
/* Turns features into int16 inputs. Features beyond the range of the calibration samples are cut off. */
static inline void NAME_inputs(const float *x, int16_t *inputs)
{
STATEMENTS    for (int i = 0; i < NAMES_N_INPUTS; i++) {
        float q = SOURCE[i] * NAME_input_factors[i];
        if (!(q > -32767.0f))
            q = -32767.0f;
        if (q > 32767.0f)
            q = 32767.0f;
        q += q < 0.0f ? -0.5f : 0.5f;
        inputs[i] = (int16_t)(q > 32767.0f ? 32767.0f : q < -32767.0f ? -32767.0f : q);
    }
}
"""

_SCALED = """\
/* sum * factor / 2^shift, rounded and cut off at int16. Shifts of negative numbers are not portable:
 * 2^62, which exceeds every product, is added before the shift and subtracted after it. */
static inline int16_t NAME_scaled(int32_t sum, int32_t factor, int shift)
{
    const uint64_t product = (uint64_t)((int64_t)sum * factor) + ((uint64_t)1 << 62);
    const uint64_t rounded = (product + ((uint64_t)1 << (shift - 1))) >> shift;
    const int64_t units = (int64_t)rounded - ((int64_t)1 << (62 - shift));
    return (int16_t)(units > 32767 ? 32767 : units < -32767 ? -32767 : units);
}
"""

_LAYER = """\
/* units[j] = (biases[j] + the sum over i of x[i] * weight) * factors[j] / 2^shift; weights hold a row of
 * n_in numbers for each unit. */
static inline void NAME_layer(const int8_t *weights, const int32_t *biases, const int32_t *factors, int shift,
                              int n_in, int n_out, const int16_t *x, int16_t *units)
{
    for (int j = 0; j < n_out; j++) {
        int32_t sum = biases[j];
        for (int i = 0; i < n_in; i++)
            sum += (int32_t)*weights++ * x[i];
        units[j] = NAME_scaled(sum, factors[j], shift);
    }
}
"""

_TABLE = """\
/* Value of an activation, interpolated between the entries of its table. */
static inline int16_t NAME_value(const int16_t *table, int16_t z)
{
    const int32_t place = (int32_t)z + 32768;
    const int32_t left = table[place >> 8], right = table[(place >> 8) + 1];
    return (int16_t)(left + (right - left) * (place & 255) / 256);
}
"""


def _hidden(network: QuantizedNetwork) -> list[int]:
    """Return the numbers of units of the hidden layers."""
    return [layer.biases.size for layer in network.layers[:-1]]


def _scores(network: QuantizedNetwork, name: str) -> str:
    """Return the function that computes the scores."""
    lines = [
        f"/* Scores of a sample, in steps of {name.upper()}_SCORE_SCALE. */",
        f"static inline void {name}_scores(const int16_t *inputs, int16_t *scores)", "{",
    ]  # fmt: skip
    sizes = buffers(_hidden(network))
    if sizes:
        lines.append(f"    int16_t {', '.join(f'{one}[{size}]' for one, size in sizes.items())};")
    source = "inputs"
    for k, layer in enumerate(network.layers, 1):
        n_out, n_in = layer.weights.shape
        target = "scores" if k == len(network.layers) else "ba"[k % 2]
        arrays = ", ".join(f"{name}_{one}_{k}" for one in ("weights", "biases", "factors"))
        lines.append(f"    {name}_layer({arrays}, {layer.shift}, {n_in}, {n_out}, {source}, {target});")
        loop = f"    for (int j = 0; j < {n_out}; j++)"
        if layer.table is not None:
            value = f"{name}_value({name}_{layer.activation}, {target}[j])"
            lines += [loop, f"        {target}[j] = {value};"]
        elif layer.activation == "relu":
            lines += [loop, f"        if ({target}[j] < 0)", f"            {target}[j] = 0;"]
        source = target
    return "\n".join([*lines, "}", ""])


def _predict(description: ModelDescription, network: QuantizedNetwork, name: str) -> str:
    """Return the function of the class, of the labels or of the numbers."""
    n = network.layers[-1].biases.size
    if description.kind == "numbers":
        value = f"s[k] * {name.upper()}_SCORE_SCALE"
        if _is_exponential(description):
            value = f"expf({value})"
        return (
            "/* Numbers of a sample. */\n"
            f"static inline void {name}_predict(const int16_t *inputs, float *y)\n{{\n"
            f"    int16_t s[{n}];\n    {name}_scores(inputs, s);\n    for (int k = 0; k < {n}; k++)\n"
            f"        y[k] = {value};\n}}\n"
        )
    return decision(description, name, "int16_t", "inputs", f"{name}_scores", n, "0")


def _self_test(network: QuantizedNetwork, name: str, X: NDArray[Any], scaled: NDArray[Any]) -> str:
    """Return the self-test, which compares the scores of samples bit for bit with the expected ones."""
    inputs = network.inputs(scaled)
    n_in, n_out = network.layers[0].weights.shape[1], network.layers[-1].biases.size
    arrays = "".join(
        f"    {indented(array(kind, what, values))}\n"
        for kind, what, values in (
            ("float", "samples", X), ("int16_t", "expected_inputs", inputs),
            ("int16_t", "expected_scores", network.scores(inputs)),
        )
    )  # fmt: skip
    return f"""\
#ifdef {name.upper()}_SELF_TEST
/* Number of failures, 0 if every bit of the scores of {len(X)} samples is as in fastnn. */
static inline int {name}_self_test(void)
{{
{arrays}    int failures = 0;
    for (int n = 0; n < {len(X)}; n++) {{
        int16_t inputs[{n_in}], scores[{n_out}];
        {name}_inputs(samples + n * {n_in}, inputs);
        for (int i = 0; i < {n_in}; i++)
            failures += inputs[i] != expected_inputs[n * {n_in} + i];
        {name}_scores(inputs, scores);
        for (int k = 0; k < {n_out}; k++)
            failures += scores[k] != expected_scores[n * {n_out} + k];
    }}
    return failures;
}}
#endif
"""


def _agreement(description: ModelDescription, network: QuantizedNetwork, X: NDArray[Any]) -> str:
    """Return a sentence on how well quantised and exact scores agree on the calibration samples."""
    S = network.scores(network.inputs(X)) * network.layers[-1].scale
    exact = description.converted(np.float64).members[0].scores(X)
    if _is_exponential(description):
        S, exact = np.exp(S), np.exp(exact)
    if description.kind == "numbers":
        error, most = np.abs(S - exact).max(), np.abs(exact).max()
        return f"numbers up to {most:.3g} differ by at most {error:.2g}"
    if description.kind == "labels" or description.is_binary:
        equal = (S > 0) == (exact > 0)
    else:
        equal = S.argmax(axis=1) == exact.argmax(axis=1)
    return f"{100 * equal.mean():.1f} % of the {description.kind} are equal"


def _facts(
    description: ModelDescription, network: QuantizedNetwork, name: str, X: NDArray[Any]
) -> list[tuple[str, str]]:
    """Return the headings and texts of the first comment."""
    size, layers = name.upper(), network.layers
    tables = {layer.activation for layer in layers if layer.table is not None}
    flash = sum(layer.weights.size + 8 * layer.biases.size for layer in layers)
    flash += 514 * len(tables) + 4 * description.n_inputs
    flash += class_names_size(description)
    flash += sum(stage_bytes(stage, 4) for stage in description.stages)
    n_scores = layers[-1].biases.size
    stack = 2 * (sum(buffers(_hidden(network)).values()) + n_scores)
    stack += 4 * sum(len(stage.sources) for stage in description.stages)
    products = sum(layer.weights.size for layer in layers)
    units = sum(layer.biases.size for layer in layers)
    use = {
        "numbers": f" float y[{size}_N_SCORES]; {name}_predict(inputs, y);",
        "labels": f" unsigned char labels[{size}_N_SCORES]; {name}_predict(inputs, labels);",
        "classes": f" const char *label = {name}_classes[{name}_predict(inputs)];",
    }[description.kind]
    largest = max(layer.largest_sum for layer in layers)
    return [
        ("Use", f" int16_t inputs[{size}_N_INPUTS]; {name}_inputs(x, inputs);\n{use}"),
        (
            "Memory",
            f"flash: {flash} bytes of constants, and the code; stack: {stack} bytes of buffers. No heap, no "
            "variables that outlive a call: the functions are reentrant.",
        ),
        (
            "Operations",
            f"{products} multiplications of 8 by 16 bits with an addition in 32 bits, {units} "
            f"multiplications of 32 by 32 bits. Floating-point numbers occur only in {name}_inputs"
            + (f" and {name}_predict" if description.kind == "numbers" else "")
            + (", which calls expf for every number." if _is_exponential(description) else "."),
        ),
        ("Overflow", f"excluded for all inputs: no sum exceeds {largest}, the limit of int32 is 2147483647."),
        ("Accuracy", f"on {len(X)} calibration samples, {_agreement(description, network, X)}."),
        ("Self-test", f"compile with -D{size}_SELF_TEST; {name}_self_test() returns the number of failures."),
        (
            "Compile",
            f"C99 or C++11{', with the mathematical library' if _uses_library(description) else ''}.",
        ),
    ]
