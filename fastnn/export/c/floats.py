"""C headers that compute in float or double."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.ma  # np.unique would import it while a thread trains: a child forked then would wait forever
from numpy.typing import NDArray

from ..description import Member, ModelDescription
from .expressions import activation_function, calls
from .header import (
    N_SAMPLES,
    buffers,
    class_names,
    class_names_size,
    decision,
    framed,
    introduction,
    some_samples,
)
from .stages import stage_bytes, stage_code
from .text import array, filled, indented, literal

__all__ = ["header"]

# Largest difference that the self-test accepts, divided by 1 plus the magnitude of the expected number.
TOLERANCES = {"float": np.float32(1e-4), "double": np.float64(1e-9)}
# Largest number of samples that are tried for the self-test.
MAX_TRIED = 1000


def header(description: ModelDescription, name: str, X: NDArray[Any] | None) -> str:
    """Return a model as a C header.

    Parameters
    ----------
    description : ModelDescription
        Model; its dtype is the header's.
    name : str
        Prefix of all names.
    X : array (n, n_inputs) or None
        Samples, some of which the self-test holds; None to draw samples.

    Raises
    ------
    ValueError
        If the features or the outputs of all samples are too large for the dtype.
    """
    samples = _computable(description, X)
    kind = "float" if description.dtype == np.float32 else "double"
    members = description.members
    used = sorted({layer.activation for member in members for layer in member.layers} - {"identity"})
    if "sigmoid" not in used and (
        any(member.output == "sigmoid" for member in members)
        or any(f"{name}_sigmoid(" in activation_function(one, name, description.dtype) for one in used)
    ):
        used.append("sigmoid")
    used.sort(key=lambda one: one != "sigmoid")  # other activations call the sigmoid
    sections = [_macros(description, name), class_names(description, name)]
    for k, member in enumerate(members):
        for position, layer in enumerate(member.layers):
            weights, biases = _arrays(description, name, k, position)
            sections.append(array(kind, weights, np.ascontiguousarray(layer.weights.T)))
            sections.append(array(kind, biases, layer.biases))
    sections.append(_typed(_LAYER, kind, name))
    sections += [activation_function(one, name, description.dtype) for one in used]
    for k, stage in enumerate(description.stages, 1):
        what = "the inputs of the networks" if k == len(description.stages) else "those of the next function"
        sections.append(stage_code(stage, f"{name}_inputs_{k}", what, kind))
    if any(member.output == "softmax" for member in members):
        sections.append(_typed(_SOFTMAX, kind, name))
    sections += [_network(description, member, k, name, kind) for k, member in enumerate(members)]
    sections += [_outputs(description, name, kind), _predict(description, name, kind)]
    sections.append(_self_test(description, name, kind, samples))
    first = introduction(description, name, description.dtype.name, _facts(description, name, kind))
    return framed(name, first, ["math.h"], sections)


def _computable(description: ModelDescription, X: NDArray[Any] | None) -> NDArray[Any]:
    """Return samples whose features and outputs the dtype can hold: some of X, drawn ones if X is None."""
    if X is None:
        drawn = np.random.RandomState(0).randn(N_SAMPLES, description.n_inputs).round(3)
        if description.stages:
            drawn = description.stages[0].typical(drawn)
        # Exponentials overflow for samples that are far from those of the fit: draw smaller ones.
        candidates = [drawn, *(drawn * 16.0**-k for k in range(1, 16)), np.zeros_like(drawn)]
    else:
        # Few samples first: the outputs of all would take time and memory.
        choices = [np.unique(np.linspace(0, len(X) - 1, n).astype(int)) for n in (N_SAMPLES, MAX_TRIED)]
        candidates = [X[rows] for rows in choices]
    for samples in candidates:
        with np.errstate(all="ignore"):
            rounded = samples.astype(description.dtype)
            usable = np.isfinite(np.hstack([rounded, description.outputs(rounded)])).all(axis=1)
        if usable.all() or (samples is candidates[-1] and usable.any()):
            return samples[usable]
    dtype = description.dtype.name
    raise ValueError(
        f"X has no sample whose features and outputs {dtype} can hold, for the self-test: "
        + ("give" if X is None else "scale X, also for the training, or give other")
        + " typical samples in X"
        + (", or export with dtype='float64'" if dtype == "float32" else "")
    )


def _typed(text: str, kind: str, name: str) -> str:
    """Return a C function with placeholders replaced: type, names and suffixes of numbers."""
    return filled(text, KIND=kind, NAME=name, SUFFIX="f" if kind == "float" else "")


def _macros(description: ModelDescription, name: str) -> str:
    return (
        f"#define {name.upper()}_N_INPUTS {description.n_inputs}\n"
        f"#define {name.upper()}_N_OUTPUTS {description.n_outputs}\n"
    )


def _arrays(description: ModelDescription, name: str, member: int, layer: int) -> tuple[str, str]:
    """Return the names of a layer's arrays: the layer's number, after the member's in an ensemble."""
    number = f"{member + 1}_{layer + 1}" if len(description.members) > 1 else f"{layer + 1}"
    return f"{name}_weights_{number}", f"{name}_biases_{number}"


_LAYER = """\
/* units[j] = biases[j] + the sum over i of x[i] * weight, a row of n_in weights for each unit. */
static inline void NAME_layer(const KIND *weights, const KIND *biases, int n_in, int n_out,
                              const KIND *x, KIND *units)
{
    for (int j = 0; j < n_out; j++) {
        KIND sum = biases[j];
        for (int i = 0; i < n_in; i++)
            sum += *weights++ * x[i];
        units[j] = sum;
    }
}
"""

_SOFTMAX = """\
/* Replaces scores by probabilities. The highest score is subtracted, so that nothing overflows. */
static inline void NAME_softmax(KIND *scores, int n)
{
    KIND highest = scores[0], sum = 0.0SUFFIX;
    for (int k = 1; k < n; k++)
        if (scores[k] > highest)
            highest = scores[k];
    for (int k = 0; k < n; k++) {
        scores[k] = expSUFFIX(scores[k] - highest);
        sum += scores[k];
    }
    for (int k = 0; k < n; k++)
        scores[k] /= sum;
}
"""


def _network(description: ModelDescription, member: Member, k: int, name: str, kind: str) -> str:
    """Return the function that computes the scores of one network."""
    function = f"{name}_scores" + (f"_{k + 1}" if len(description.members) > 1 else "")
    lines = ["/* Scores of a sample: the units of the last layer. */"]
    lines += [f"static inline void {function}(const {kind} *x, {kind} *scores)", "{"]
    sizes = buffers(member.layers_dim[1:-1])
    if sizes:
        lines += [f"    {kind} {', '.join(f'{one}[{size}]' for one, size in sizes.items())};"]
    source = "x"
    for position, layer in enumerate(member.layers):
        n_in, n_out = layer.weights.shape
        target = "scores" if position == len(member.layers) - 1 else "ab"[position % 2]
        weights, biases = _arrays(description, name, k, position)
        lines.append(f"    {name}_layer({weights}, {biases}, {n_in}, {n_out}, {source}, {target});")
        if layer.activation != "identity":
            lines += [
                f"    for (int j = 0; j < {n_out}; j++)",
                f"        {target}[j] = {name}_{layer.activation}({target}[j]);",
            ]
        source = target
    return "\n".join([*lines, "}", ""])


def _outputs(description: ModelDescription, name: str, kind: str) -> str:
    """Return the function of the probabilities, or of the numbers."""
    f, n_outputs = "f" if kind == "float" else "", description.n_outputs
    n_scores, number = description.members[0].layers_dim[-1], len(description.members)

    def finished(member: Member, target: str) -> list[str]:
        """Return the statements that turn scores in `target` into outputs."""
        lines = unlimited(member, target)
        if description.limits is not None:
            low, high = (literal(description.dtype.type(limit)) for limit in description.limits)
            one = f"{target}[k]"
            lines += [
                f"    for (int k = 0; k < {n_scores}; k++)",
                f"        {one} = {one} < {low} ? {low} : {one} > {high} ? {high} : {one};",
            ]
        return lines

    def unlimited(member: Member, target: str) -> list[str]:
        """Return the statements that turn scores in `target` into outputs of any size."""
        if description.is_binary:
            return [
                f"    {target}[1] = {name}_sigmoid({target}[0]);", f"    {target}[0] = 1.0{f} - {target}[1];"
            ]  # fmt: skip
        if member.output == "softmax":
            return [f"    {name}_softmax({target}, {n_scores});"]
        function = {"sigmoid": f"{name}_sigmoid", "exponential": f"exp{f}"}.get(member.output)
        if function is None:
            return []
        return [
            f"    for (int k = 0; k < {n_scores}; k++)", f"        {target}[k] = {function}({target}[k]);"
        ]  # fmt: skip

    what = "Numbers" if description.kind == "numbers" else f"Probabilities of the {description.kind}"
    function = f"{name}_predict" if description.kind == "numbers" else f"{name}_predict_proba"
    result = "y" if description.kind == "numbers" else "p"
    lines = [f"/* {what} of a sample: {n_outputs} in {result}, from {description.n_inputs} features in x. */"]
    lines += [f"static inline void {function}(const {kind} *x, {kind} *{result})", "{"]
    x, statements = _staged(description, name, kind)
    lines += statements
    decoded = []
    if description.decoding is not None:
        center, scale = (literal(description.dtype.type(one)) for one in description.decoding)
        decoded = [
            f"    for (int k = 0; k < {n_outputs}; k++)",
            f"        {result}[k] = {result}[k] * {scale} + {center};",
        ]
    if number == 1:
        lines += [f"    {name}_scores({x}, {result});", *finished(description.members[0], result), *decoded]
        return "\n".join([*lines, "}", ""])
    lines += [f"    {kind} one[{n_outputs}];"]
    for k, member in enumerate(description.members):
        target = result if k == 0 else "one"
        lines += [f"    {name}_scores_{k + 1}({x}, {target});", *finished(member, target)]
        if k:
            lines += [f"    for (int k = 0; k < {n_outputs}; k++)", f"        {result}[k] += one[k];"]
    lines += [f"    for (int k = 0; k < {n_outputs}; k++)", f"        {result}[k] /= {number}.0{f};"]
    return "\n".join([*lines, *decoded, "}", ""])


def _staged(description: ModelDescription, name: str, kind: str) -> tuple[str, list[str]]:
    """Return the name of the networks' inputs for the sample x, and the statements that compute them."""
    source, lines = "x", []
    for k, stage in enumerate(description.stages, 1):
        lines += [f"    {kind} u{k}[{len(stage.sources)}];", f"    {name}_inputs_{k}({source}, u{k});"]
        source = f"u{k}"
    return source, lines


def _predict(description: ModelDescription, name: str, kind: str) -> str:
    """Return the C function that predicts the class or labels; an empty text for a regressor."""
    if description.kind == "numbers":
        return ""
    # One network decides by its scores, which do not round to 0 or 1; an ensemble by its probabilities.
    by_scores = not description.is_ensemble
    n = description.members[0].layers_dim[-1] if by_scores else description.n_outputs
    compute = f"{name}_scores" if by_scores else f"{name}_predict_proba"
    x, statements = _staged(description, name, kind) if by_scores else ("x", [])
    limit = np.array(0.0 if by_scores else 0.5, description.dtype)[()]
    return decision(description, name, kind, "x", compute, n, literal(limit), (x, statements))


def _self_test(description: ModelDescription, name: str, kind: str, samples: NDArray[Any]) -> str:
    """Return the self-test, which compares the outputs of samples with the expected ones."""
    X = some_samples(samples).astype(description.dtype)
    exact = description.converted(np.float64).outputs(X.astype(np.float64))
    expected = exact.astype(description.dtype)
    n, n_in, n_out = len(X), description.n_inputs, description.n_outputs
    function = f"{name}_predict" if description.kind == "numbers" else f"{name}_predict_proba"
    tolerance, f = literal(TOLERANCES[kind]), "f" if kind == "float" else ""
    decision = ""
    if description.kind == "classes":
        decision = f"""\
        /* The class with the highest probability, unless two are about equal. */
        int best = 0, other = -1;
        for (int k = 1; k < {n_out}; k++)
            if (outputs[n * {n_out} + k] > outputs[n * {n_out} + best])
                best = k;
        for (int k = 0; k < {n_out}; k++)
            if (k != best && outputs[n * {n_out} + k] > outputs[n * {n_out} + best] - 0.001{f})
                other = k;
        if (other < 0)
            failures += {name}_predict(samples + n * {n_in}) != best;
"""
    return f"""\
#ifdef {name.upper()}_SELF_TEST
/* Number of failures, 0 if the network computes {n} samples as fastnn does. */
static inline int {name}_self_test(void)
{{
    {indented(array(kind, "samples", X))}
    {indented(array(kind, "outputs", expected))}
    int failures = 0;
    for (int n = 0; n < {n}; n++) {{
        {kind} y[{n_out}];
        {function}(samples + n * {n_in}, y);
        for (int k = 0; k < {n_out}; k++) {{
            const {kind} expected = outputs[n * {n_out} + k];
            failures += !(fabs{f}(y[k] - expected) <= {tolerance} * (1.0{f} + fabs{f}(expected)));
        }}
{decision}    }}
    return failures;
}}
#endif
"""


def _facts(description: ModelDescription, name: str, kind: str) -> list[tuple[str, str]]:
    """Return the headings and texts of the first comment."""
    itemsize, n_outputs = description.dtype.itemsize, description.n_outputs
    layers = [layer for member in description.members for layer in member.layers]
    flash = sum(layer.weights.size + layer.biases.size for layer in layers) * itemsize
    flash += class_names_size(description)
    flash += sum(stage_bytes(stage, itemsize) for stage in description.stages)
    stack = max(sum(buffers(member.layers_dim[1:-1]).values()) for member in description.members) * itemsize
    stack += sum(len(stage.sources) for stage in description.stages) * itemsize
    stack += n_outputs * itemsize * (1 + (len(description.members) > 1))
    f = "f" if kind == "float" else ""
    counts: dict[str, int] = {}
    for layer in layers:
        for function, number in calls(layer.activation).items():
            counts[function + f] = counts.get(function + f, 0) + number * layer.biases.size
    for member in description.members:
        if member.output != "identity":
            counts[f"exp{f}"] = counts.get(f"exp{f}", 0) + member.layers_dim[-1]
    products = sum(layer.weights.size for layer in layers)
    operations = [f"{products} multiplications with an addition"]
    operations += [f"{number} calls of {function}" for function, number in sorted(counts.items())]
    size = name.upper()
    if description.kind == "numbers":
        use = f" {name}_predict(x, y);"
    elif description.kind == "labels":
        use = f" {name}_predict(x, labels); {name}_predict_proba(x, p);"
    else:
        use = f" const char *label = {name}_classes[{name}_predict(x)]; {name}_predict_proba(x, p);"
    arrays = f" {kind} x[{size}_N_INPUTS], {'y' if description.kind == 'numbers' else 'p'}[{size}_N_OUTPUTS];"
    return [
        ("Use", f"{arrays}\n{use}"),
        (
            "Memory",
            f"flash: {flash} bytes of constants, and the code; stack: {stack} bytes of buffers. No heap, no "
            "variables that outlive a call: the functions are reentrant.",
        ),
        ("Operations", ", ".join(operations) + " for the outputs of a sample."),
        ("Self-test", f"compile with -D{size}_SELF_TEST; {name}_self_test() returns the number of failures."),
        ("Compile", "C99 or C++11, with the mathematical library."),
    ]
