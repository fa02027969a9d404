"""C99: a network, or a pipeline of scalers and a network, as one header.

A header is written for a network named "net" and in float; `_rename` replaces name and type.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .. import __version__
from ..system.affine import NotAffineError, compose_maps, split_pipeline
from ..system.expressions import Expression
from ..system.files import atomic_path, check_file_name, check_output
from ..system.validation import Array, check_dtype, check_samples, short_repr
from .description import MemberDescription, ModelDescription
from .formulas import VARIABLE, record_formula

# Largest number of characters of a line of numbers or comments.
WIDTH = 104
# Number of samples in the self-test, and the largest number that is tried for it.
N_SAMPLES, MAX_TRIED = 3, 1000
# Largest difference that the self-test accepts, divided by 1 plus the magnitude of the expected number.
TOLERANCES = {"float32": 1e-4, "float64": 1e-9}
# Steps that are folded into a network. SimpleImputer is affine only where no value is missing.
SCALERS = ("MaxAbsScaler", "MinMaxScaler", "RobustScaler", "StandardScaler")

# --- text of C programs ----------------------------------------------------------------------------------


def _choose_prefix(name: object, path: str | PathLike[str] | None) -> str:
    """Return the prefix of all names in a header: `name`, or an identifier made from the file's name."""
    if name is None:
        stem = "net" if path is None else check_file_name(path, "path").stem
        stem = re.sub(r"\W+", "_", stem, flags=re.ASCII).strip("_")
        return stem if re.match("[A-Za-z]", stem) else f"net_{stem}".rstrip("_")
    if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
        raise ValueError(f"name must be an identifier of C, such as net_1, got {short_repr(name)}")
    return name


def _rename(code: str, name: str, dtype: np.dtype) -> str:
    """Return code in float for the network "net" with another name and data type."""
    if dtype == np.float64:
        code = re.sub(r"\bfloat\b", "double", code)
        code = re.sub(r"(?<=\d)f\b|(?<=\w)f(?=\()", "", code)  # of numbers such as 1.0f, and of expf(
    return re.sub(
        r"\b(?:net|NET)_", lambda found: f"{name}_" if found[0] == "net_" else f"{name.upper()}_", code
    )


def _format_number(value: float | np.floating[Any]) -> str:
    return f"{value!s}f"


def _wrap(text: str, first: str, indent: str) -> str:
    wrapper = textwrap.TextWrapper(WIDTH, first, indent, break_long_words=False, break_on_hyphens=False)
    return wrapper.fill(text)


def _write_array(name: str, values: Array) -> str:
    """Return the definition of a constant array; each row of a matrix begins a line."""
    rows = [_wrap(", ".join(map(_format_number, row)), "    ", "    ") for row in np.atleast_2d(values)]
    return f"static const float {name}[{values.size}] = {{\n" + ",\n".join(rows) + "\n};\n"


def _quote(text: str) -> str:
    """Return text as a string literal in UTF-8, with octal escapes for everything but plain characters."""
    encoded = text.encode("utf-8", "replace")
    return '"' + re.sub(rb'[^ -~]|["?\\]', lambda found: b"\\%03o" % ord(found[0]), encoded).decode() + '"'


def _escape_comment(text: object) -> str:
    """Return text on one line, with nothing that ends or begins a comment and no trigraphs."""
    text = " ".join("".join(one if one.isprintable() else " " for one in str(text)).split())
    return text.replace("*/", "* /").replace("/*", "/ *").replace("??", "? ?").replace("\\", "/")


# --- sections of a header --------------------------------------------------------------------------------

_LAYER = """\
/* units[j] = biases[j] + the sum over i of x[i] * weight, a row of n_in weights for each unit. */
static inline void net_layer(const float *weights, const float *biases, int n_in, int n_out,
                             const float *x, float *units)
{
    for (int j = 0; j < n_out; j++) {
        float sum = biases[j];
        for (int i = 0; i < n_in; i++)
            sum += *weights++ * x[i];
        units[j] = sum;
    }
}
"""

_SOFTMAX = """\
/* Replaces scores by probabilities. The highest score is subtracted, so that nothing overflows. */
static inline void net_softmax(float *scores, int n)
{
    float highest = scores[0], sum = 0.0f;
    for (int k = 1; k < n; k++)
        if (scores[k] > highest)
            highest = scores[k];
    for (int k = 0; k < n; k++) {
        scores[k] = expf(scores[k] - highest);
        sum += scores[k];
    }
    for (int k = 0; k < n; k++)
        scores[k] /= sum;
}
"""

# The operations of formulas in C.
_OPERATIONS = {
    "add": "{} + {}",
    "subtract": "{} - {}",
    "multiply": "{} * {}",
    "divide": "{} / {}",
    "negative": "-{}",
    "absolute": "fabsf({})",
    "minimum": "{0} < {1} ? {0} : {1}",
    "maximum": "{0} > {1} ? {0} : {1}",
    "power": "powf({}, {})",
    "less": "{} < {}",
    "greater": "{} > {}",
    "where": "{} ? {} : {}",
    **{name: f"{name}f({{}})" for name in ("exp", "expm1", "log", "log1p", "sqrt", "tanh")},
}


def _write_classes(description: ModelDescription, name: str) -> str:
    """Return the names of the classes, in a header of the given name; an empty text without classes."""
    if description.kind != "classes":
        return ""
    names = ",\n".join(f"    {_quote(str(one))}" for one in description.class_list)
    return (
        f"/* Names of the classes, UTF-8. */\n"
        f"static const char *const {name}_classes[{len(description.class_list)}] = {{\n{names}\n}};\n\n"
    )


def _write_function(name: str) -> str:
    if name == "softmax":
        return _SOFTMAX
    lines: list[str] = []
    variables = {id(VARIABLE): "z"}  # names by the identity of expressions

    def name_operand(node: Expression | float) -> str:
        if not isinstance(node, Expression):
            return _format_number(node)
        if id(node) not in variables:
            value = _OPERATIONS[node.operation].format(*map(name_operand, node.arguments))
            variables[id(node)] = f"t{len(variables)}"
            kind = "int" if node.operation in ("less", "greater") else "float"
            lines.append(f"    const {kind} {variables[id(node)]} = {value};\n")
        return variables[id(node)]

    result = name_operand(record_formula(name))
    return f"static inline float net_{name}(float z)\n{{\n{''.join(lines)}    return {result};\n}}\n"


def _define(comment: str, signature: str, lines: Sequence[str]) -> str:
    return "\n".join([f"/* {comment} */", f"static inline {signature}", "{", *lines, "}\n"])


def _apply(function: str, values: str, n: int) -> list[str]:
    """Return the statements that apply an activation or an output function to values in place."""
    if function == "softmax":
        return [f"    net_softmax({values}, {n});"]
    if function == "identity":
        return []
    return [f"    for (int k = 0; k < {n}; k++)", f"        {values}[k] = net_{function}({values}[k]);"]


def _list_suffixes(description: ModelDescription) -> list[str]:
    n = len(description.members)
    return [f"_{k}" for k in range(1, n + 1)] if n > 1 else [""]


def _size_buffers(member: MemberDescription) -> dict[str, int]:
    """Return the sizes of the buffers "a" and "b", which hold the units of the hidden layers in turn."""
    hidden = member.layers_dim[1:-1]
    return {name: max(sizes) for name, sizes in (("a", hidden[::2]), ("b", hidden[1::2])) if sizes}


def _write_network(member: MemberDescription, suffix: str) -> str:
    """Return the arrays of a network, and the function that computes its scores."""
    arrays, statements, source = [], [], "x"
    for k, layer in enumerate(member.layers, 1):
        n_in, n_out = layer.weights.shape
        weights, biases = f"net_weights{suffix}_{k}", f"net_biases{suffix}_{k}"
        arrays += [_write_array(weights, layer.weights.T), _write_array(biases, layer.biases)]
        target = "scores" if k == len(member.layers) else "ba"[k % 2]
        statements.append(f"    net_layer({weights}, {biases}, {n_in}, {n_out}, {source}, {target});")
        statements += _apply(layer.activation, target, n_out)
        source = target
    buffers = [f"    float {name}[{size}];" for name, size in _size_buffers(member).items()]
    comment = "Scores of a sample: the units of the last layer."
    signature = f"void net_scores{suffix}(const float *x, float *scores)"
    return "\n".join([*arrays, _define(comment, signature, [*buffers, *statements])])


def _write_outputs(description: ModelDescription) -> str:
    """Return the function of the probabilities, or of the numbers."""
    function, result, what = "net_predict_proba", "p", f"Probabilities of the {description.kind}"
    if description.kind == "numbers":
        function, result, what = "net_predict", "y", "Numbers"
    lines, n = [], description.n_outputs
    every = f"    for (int k = 0; k < {n}; k++)"
    for k, (member, suffix) in enumerate(zip(description.members, _list_suffixes(description), strict=True)):
        target = "one" if k else result
        lines.append(f"    net_scores{suffix}(x, {target});")
        lines += _apply(member.output, target, member.layers_dim[-1])
        if description.is_binary:
            lines += [f"    {target}[1] = {target}[0];", f"    {target}[0] = 1.0f - {target}[1];"]
        if k:
            lines += [every, f"        {result}[k] += one[k];"]
    if k:
        lines = [f"    float one[{n}];", *lines, every, f"        {result}[k] /= {k + 1}.0f;"]
    comment = f"{what} of a sample: {n} in {result}, from {description.n_inputs} features in x."
    return _define(comment, f"void {function}(const float *x, float *{result})", lines)


def _write_decision(description: ModelDescription) -> str:
    """Return the function that predicts the class or the labels; an empty text for numbers."""
    if description.kind == "numbers":
        return ""
    # One network decides by its scores, which do not round to 0 or 1; an ensemble by its probabilities.
    compute, limit, n = "net_scores", "0.0f", description.members[0].layers_dim[-1]
    if description.is_ensemble:
        compute, limit, n = "net_predict_proba", "0.5f", description.n_outputs
    comment = "Number of the class of a sample; its name is net_classes[number]."
    signature = "int net_predict(const float *x)"
    if description.kind == "labels":
        comment = f"Labels of a sample: {n} times 0 or 1."
        signature = "void net_predict(const float *x, unsigned char *labels)"
        decide = [f"    for (int k = 0; k < {n}; k++)", f"        labels[k] = s[k] > {limit};"]
    elif description.is_binary and n == 1:
        decide = [f"    return s[0] > {limit};"]
    else:
        loop = [f"    for (int k = 1; k < {n}; k++)", "        if (s[k] > s[best])", "            best = k;"]
        decide = ["    int best = 0;", *loop, "    return best;"]
    return _define(comment, signature, [f"    float s[{n}];", f"    {compute}(x, s);", *decide])


def _compute_expected(description: ModelDescription, samples: Array) -> Array:
    """Return the outputs of samples, computed in float64 and rounded to the description's dtype."""
    outputs = description.convert(np.float64).compute_outputs(samples.astype(np.float64))
    return outputs.astype(description.dtype)


def _write_self_test(description: ModelDescription, samples: Array) -> str:
    compute, check = "net_predict_proba", ""
    if description.kind == "numbers":
        compute = "net_predict"
    if description.kind == "classes":  # no probability clearly exceeds the class's own
        check = "            failures += expected[net_predict(x)] < expected[k] - 0.001f;\n"
    tolerance = _format_number(TOLERANCES[description.dtype.name])
    outputs = _compute_expected(description, samples)
    arrays = _write_array("samples", samples) + _write_array("outputs", outputs)
    return f"""\
#ifdef NET_SELF_TEST
/* Number of failures, 0 if the network computes {len(samples)} samples as fastnn does. */
static inline int net_self_test(void)
{{
{textwrap.indent(arrays, "    ")}    int failures = 0;
    for (int n = 0; n < {len(samples)}; n++) {{
        const float *x = samples + n * NET_N_INPUTS, *expected = outputs + n * NET_N_OUTPUTS;
        float y[NET_N_OUTPUTS];
        {compute}(x, y);
        for (int k = 0; k < NET_N_OUTPUTS; k++) {{
            failures += !(fabsf(y[k] - expected[k]) <= {tolerance} * (1.0f + fabsf(expected[k])));
{check}        }}
    }}
    return failures;
}}
#endif
"""


def _write_introduction(description: ModelDescription, name: str) -> str:
    """Return the first comment: the network, how it is called, memory and operations."""
    member, n_outputs, itemsize = description.members[0], description.n_outputs, description.dtype.itemsize
    layers = [layer for one in description.members for layer in one.layers]
    n_products = sum(layer.weights.size for layer in layers)
    flash = itemsize * (n_products + sum(layer.biases.size for layer in layers))
    # Names of classes have a final NUL and a pointer of 4 bytes.
    flash += sum(len(str(one).encode("utf-8", "replace")) + 5 for one in description.class_list)
    stack = max(sum(_size_buffers(one).values()) for one in description.members)
    stack = itemsize * (stack + n_outputs * (1 + (len(description.members) > 1)))
    functions = [(layer.activation, layer.biases.size) for layer in layers]
    functions += [(one.output, one.layers_dim[-1]) for one in description.members]
    calls: Counter[str] = Counter()
    for function, n in functions:
        for called in re.findall(r"(\w+f)\(", _write_function(function)):
            calls[called] += n
    del calls["fabsf"]
    operations = [f"{n_products} multiplications with an addition"]
    operations += [
        f"{n} calls of {called if itemsize == 4 else called.removesuffix('f')}"
        for called, n in sorted(calls.items())
    ]
    network = f"{' - '.join(map(str, member.layers_dim))} units, activations "
    network += f"{', '.join(layer.activation for layer in member.layers)}, output {member.output}"
    if len(description.members) > 1:
        network += f"; mean of {len(description.members)} networks"
    size, kind = name.upper(), "float" if itemsize == 4 else "double"
    result = "y" if description.kind == "numbers" else "p"
    use = {
        "classes": f"const char *label = {name}_classes[{name}_predict(x)]; {name}_predict_proba(x, p);",
        "labels": f"{name}_predict(x, labels); {name}_predict_proba(x, p);",
        "numbers": f"{name}_predict(x, y);",
    }[description.kind]
    facts = [
        ("Network", network),
        ("Use", f"{kind} x[{size}_N_INPUTS], {result}[{size}_N_OUTPUTS];"),
        ("", use),
        (
            "Memory",
            f"flash: {flash} bytes of constants, and the code; stack: {stack} bytes of buffers. No heap, no "
            "variables that outlive a call: the functions are reentrant.",
        ),
        ("Operations", ", ".join(operations) + " for the outputs of a sample."),
        ("Self-test", f"compile with -D{size}_SELF_TEST; {name}_self_test() returns the number of failures."),
        ("Compile", "C99 or C++11, with the mathematical library."),
    ]
    names = enumerate(map(_escape_comment, description.feature_names or ()))
    classes = enumerate(map(_escape_comment, description.class_list))
    facts.append(("Inputs", "; ".join(f"x[{k}] {one}" for k, one in names)))
    facts.append(("Classes", "; ".join(f"{k} {one}" for k, one in classes)))
    first = f"{name}: neural network in {description.dtype}, exported by fastnn {__version__} from "
    lines = [f"{first}{description.source}.", ""]
    for heading, text in facts:
        lines += _wrap(text, f"{heading:<12}", " " * 12).splitlines() if text else []
    return "\n".join(["/*", *(f" * {line}".rstrip() for line in lines), " */"])


def _write_header(description: ModelDescription, name: str, samples: Array) -> str:
    members = description.members
    functions = {layer.activation for member in members for layer in member.layers}
    functions |= {member.output for member in members}
    sections = [
        _LAYER,
        *map(_write_function, sorted(functions - {"identity"})),
        *map(_write_network, members, _list_suffixes(description)),
        _write_outputs(description),
        _write_decision(description),
        _write_self_test(description, samples),
    ]
    begin = (
        "#ifndef NET_H\n#define NET_H\n\n#include <math.h>\n\n"
        f"#define NET_N_INPUTS {description.n_inputs}\n#define NET_N_OUTPUTS {description.n_outputs}\n\n"
    )
    code = "\n".join(section for section in sections if section) + "\n#endif /* NET_H */\n"
    begin, code = (_rename(text, name, description.dtype) for text in (begin, code))
    return f"{_write_introduction(description, name)}\n{begin}{_write_classes(description, name)}{code}"


# --- scalers before a network, and samples of its self-test ----------------------------------------------


def _read_scalers(steps: Sequence[Any]) -> tuple[Array, Array]:
    """Return the scale and the offset of fitted scalers, which compute ``x * scale + offset``."""
    from sklearn.utils.validation import check_is_fitted

    try:
        for step in steps:
            check_is_fitted(step)
            if type(step).__name__ not in SCALERS:
                raise NotAffineError(f"{short_repr(step)} is not a scaler")
        found = compose_maps(steps)
    except NotAffineError as error:
        raise ValueError(
            f"{error}, and cannot be folded into the network: before it, C headers have only "
            f"{', '.join(SCALERS)}, without clip"
        ) from None
    return np.diag(found.weights), found.offsets


def _fold(scale: Array, offset: Array, description: ModelDescription) -> ModelDescription:
    """Return the description, in float64, of a model of the samples ``x * scale + offset``."""
    description = description.convert(np.float64)
    members = []
    for member in description.members:
        first, *others = member.layers
        biases = offset @ first.weights + first.biases
        first = replace(first, weights=scale[:, None] * first.weights, biases=biases)
        members.append(replace(member, layers=(first, *others)))
    return replace(description, members=tuple(members))


def _choose_samples(description: ModelDescription, X: Array | None, scale: Array, offset: Array) -> Array:
    """Return samples that the dtype can compute: some of X, by default drawn ones."""
    if X is None:
        drawn = np.random.RandomState(0).randn(N_SAMPLES, scale.size).round(3)
        # Exponentials overflow for samples far from the samples of the fit, so draw smaller ones.
        candidates = [(drawn * factor - offset) / scale for factor in (*0.0625 ** np.arange(16), 0.0)]
    else:
        # Few samples first, since the outputs of all would take time and memory.
        places = [np.linspace(0, len(X) - 1, n).astype(int) for n in (N_SAMPLES, min(len(X), MAX_TRIED))]
        candidates = [X[rows] for rows in places]
    name = description.dtype.name
    for candidate in candidates:
        with np.errstate(all="ignore"):
            samples = candidate.astype(description.dtype)
            expected = _compute_expected(description, samples)
            errors = np.abs(description.compute_outputs(samples) - expected) / (1 + np.abs(expected))
            usable = (errors < TOLERANCES[name] / 2).all(axis=1)
        if usable.all() or (candidate is candidates[-1] and usable.any()):
            return samples[usable][np.linspace(0, usable.sum() - 1, N_SAMPLES).astype(int)]
    raise ValueError(
        f"X has no sample whose features and outputs {name} can hold, for the self-test: "
        + ("give" if X is None else "scale X, also for the training, or give other")
        + " typical samples in X"
        + (", or export with dtype='float64'" if name == "float32" else "")
    )


def to_c(
    model: Any,
    path: str | PathLike[str] | None = None,
    dtype: DTypeLike = "float32",
    *,
    X: ArrayLike | None = None,
    name: str | None = None,
) -> str:
    """Export a network, or a pipeline of scalers and a network, to C99 as one header.

    The scalers are folded into the weights of the first layer, so the header takes the features as they are.

    Parameters
    ----------
    model : Model, estimator, ensemble or Pipeline
        Fitted model with a method ``to_c``, or a `Pipeline` of scikit-learn whose last step is such a network
        or ensemble, and whose other steps are StandardScaler, MinMaxScaler, MaxAbsScaler, RobustScaler or
        "passthrough".
    path : str or path, optional
        Name of the file that is written. By default none is written.
    dtype : {numpy.float32, numpy.float64}, default "float32"
        Data type of the computation.
    X : array-like (n, n_features), optional
        Samples, before scaling. The self-test uses three of them; by default it draws samples.
    name : str, optional
        Prefix of all names; by default derived from the file's name, "net" without a file.

    Returns
    -------
    str
        Text of the header.

    Raises
    ------
    ValueError
        If a step of the pipeline is not such a scaler, or for the reasons of the method ``to_c``.

    Examples
    --------
    >>> import fastnn
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> network = fastnn.MLPClassifier((8,), solver="lbfgs", random_state=0)
    >>> pipeline = make_pipeline(StandardScaler(), network).fit(X, y)
    >>> header = fastnn.to_c(pipeline, name="iris")
    >>> "static inline int iris_predict(const float *x)" in header
    True
    """
    dtype = check_dtype(dtype)
    prefix = _choose_prefix(name, path)
    network, steps = split_pipeline(model)
    if not hasattr(network, "to_c"):
        raise ValueError(
            "model must be a fitted network of fastnn, or a pipeline of scalers and such a network, got "
            + short_repr(network)
        )
    description = network._description()
    scale, offset = np.ones(description.n_inputs), np.zeros(description.n_inputs)
    if steps:
        scale, offset = _read_scalers(steps)
        names = getattr(model, "feature_names_in_", None)
        description = replace(description, feature_names=None if names is None else tuple(map(str, names)))
    description = _fold(scale, offset, description).convert(dtype)
    if X is not None:
        X = check_samples(X, description.n_inputs, np.dtype(np.float64), "X")
    text = _write_header(description, prefix, _choose_samples(description, X, scale, offset))
    if path is not None:
        with atomic_path(check_output(path, "path", "an exported model")) as temporary:
            temporary.write_bytes(text.encode())
    return text
