"""C headers, compiled with all warnings as errors: as C99 and run with UBSan, and as optimised C++11."""

import shutil
import subprocess

import numpy as np
import pytest
from processes import PATIENCE

# GCC takes five times as long for code that it optimises and instruments as for either.
COMPILERS = {
    "C": ("gcc", "-std=c99", "-O0", "-fsanitize=undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
    "C++": ("g++", "-std=c++11", "-O2"),
}
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Werror")


def run(tmp_path, language, files, flags=()):
    compiler, *options = COMPILERS[language]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    suffix = ".c" if language == "C" else ".cpp"
    paths = [tmp_path / name.replace(".c", suffix) for name in files]
    for path, text in zip(paths, files.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    sources = [path for path in paths if path.suffix == suffix]
    program = tmp_path / "program.out"
    for command in ([compiler, *options, *WARNINGS, *flags, *sources, "-o", program, "-lm"], [program]):
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def print_function(name, kind, n_outputs, dtype, X):
    """Return a C function ``print_NAME`` that prints the outputs and the predictions of samples on a line.

    The `kind` of the predictions is "classes", "labels" or "numbers".
    """
    real = "float" if dtype == "float32" else "double"
    samples = ", ".join(f"{value:.17g}" for value in X.astype(dtype).ravel())
    function = "predict" if kind == "numbers" else "predict_proba"
    decide = {
        "numbers": "",
        "classes": f'        printf("%d ", {name}_predict(x));\n',
        "labels": f"        unsigned char d[{n_outputs}];\n        {name}_predict(x, d);\n"
        f'        for (int k = 0; k < {n_outputs}; k++) printf("%d ", d[k]);\n',
    }[kind]
    return f"""\
static const {real} {name}_samples[{X.size}] = {{{samples}}};
static void print_{name}(void)
{{
    for (int n = 0; n < {len(X)}; n++) {{
        const {real} *x = {name}_samples + n * {X.shape[1]};
        {real} p[{n_outputs}];
        {name}_{function}(x, p);
        for (int k = 0; k < {n_outputs}; k++) printf("%.17g ", (double)p[k]);
{decide}    }}
    printf("\\n");
}}
"""


def main(names, body):
    includes = "".join(f'#include "{name}.h"\n' for name in names)
    calls = "".join(f"    failures += {name}_self_test();\n    print_{name}();\n" for name in names)
    begin = f"#include <stdio.h>\n{includes}\n{body}\nint main(void)\n"
    return f"{begin}{{\n    int failures = 0;\n{calls}    return failures;\n}}\n"


def parse(line, n_samples, n_outputs):
    """Return the outputs and the decisions of every sample from a line that a `print_function` printed."""
    values = np.array(line.split(), float).reshape(n_samples, -1)
    return values[:, :n_outputs], values[:, n_outputs:].astype(int)
