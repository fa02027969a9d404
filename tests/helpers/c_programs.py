"""C headers, compiled with all warnings as errors: as C99 and run with UBSan, and as optimised C++11."""

import shutil
import subprocess

import numpy as np
import pytest
from processes import PATIENCE

from fastnn.export.c.text import array

# GCC takes five times as long for code that it optimises and instruments as for either.
COMPILERS = {
    "C": ("gcc", "-std=c99", "-O0", "-fsanitize=undefined,float-cast-overflow", "-fno-sanitize-recover=all"),
    "C++": ("g++", "-std=c++11", "-O2"),
}
WARNINGS = (
    "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wdouble-promotion", "-Wshadow", "-Werror"
)  # fmt: skip


def run(tmp_path, language, files, flags=()):
    """Compile and link `files`, texts by file name, run the program, and return its output."""
    compiler, *options = COMPILERS[language]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    suffix = ".c" if language == "C" else ".cpp"
    sources = []
    for name, text in files.items():
        path = tmp_path / name
        if path.suffix == ".c":
            path = path.with_suffix(suffix)
            sources.append(str(path))
        path.write_text(text, encoding="utf-8")
    program = tmp_path / f"program{suffix}.out"
    command = [compiler, *options, *WARNINGS, *flags, *sources, "-o", str(program), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout


def floating(name, description, dtype, X):
    """Return a C function ``print_NAME`` that prints the outputs and predictions of samples."""
    kind, size = ("float" if dtype == "float32" else "double"), description.n_outputs
    parts = [array(kind, f"{name}_samples", X.astype(dtype))]
    proba = "predict" if description.kind == "numbers" else "predict_proba"
    decide = {
        "numbers": "",
        "classes": f'        printf("%d ", {name}_predict(x));\n',
        "labels": f"        unsigned char d[{size}];\n        {name}_predict(x, d);\n"
        f'        for (int k = 0; k < {size}; k++) printf("%d ", d[k]);\n',
    }[description.kind]
    parts.append(f"""\
static void print_{name}(void)
{{
    for (int n = 0; n < {len(X)}; n++) {{
        const {kind} *x = {name}_samples + n * {X.shape[1]};
        {kind} p[{size}];
        {name}_{proba}(x, p);
        for (int k = 0; k < {size}; k++) printf("%.17g ", (double)p[k]);
{decide}    }}
    printf("\\n");
}}
""")
    return "".join(parts)


def main(names, body=""):
    """Return a program that includes the headers, runs their self-tests and prints their outputs."""
    includes = "".join(f'#include "{name}.h"\n#include "{name}.h"\n' for name in names)
    calls = "".join(f"    failures += {name}_self_test();\n    print_{name}();\n" for name in names)
    begin = f"#include <stdio.h>\n{includes}\n{body}\nint main(void)\n"
    return f"{begin}{{\n    int failures = 0;\n{calls}    return failures;\n}}\n"


def numbers(line, n_samples, n_outputs):
    """Return the outputs and decisions of every sample from a line that a function of `floating` printed."""
    values = np.array(line.split(), float).reshape(n_samples, -1)
    return values[:, :n_outputs], values[:, n_outputs:].astype(int)
