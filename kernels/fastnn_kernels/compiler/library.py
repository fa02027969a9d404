"""Build libraries of kernels that are compiled ahead of time.

``python -m fastnn_kernels.compiler.library`` builds the library of this machine, for an installation from
source; names of targets (``target.TARGETS``) as arguments build those, on any x86-64 machine: kernels are
compiled and never run.

Numba translates every kernel to LLVM IR, with the constants of the target (``vectors/processor.py``).
Optimisation, with numba's own sequence of passes, and machine code are left to LLVM for the target. Each
kernel becomes an object file of its own, and zig, from the package ziglang, links them to one shared library
for any system.

The libraries need no Python and no numba: the functions that they take from elsewhere are malloc, free,
memset, and the one by which a thread yields its core.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import llvmlite.binding as llvm
from llvmlite import ir
from tqdm import tqdm

from . import prebuilt
from .entry import FunctionPointer
from .prebuilt import FOLDER, RUNS_HERE, SOURCES, SUFFIXES
from .sources import digest_sources
from .target import TARGETS, Target

PACKAGE_NAME = __package__.rpartition(".")[0]

# What a library exports: kernels, and what it says of itself.
EXPORTED = ("fk_*", RUNS_HERE, SOURCES)

# Zig's names of the targets' systems.
ZIG_TARGETS = {
    "x86_64-unknown-linux-gnu": "x86_64-linux-gnu.2.17",
    "aarch64-unknown-linux-gnu": "aarch64-linux-gnu.2.17",
    "x86_64-apple-macosx11.0.0": "x86_64-macos.11.0",
    "arm64-apple-macosx11.0.0": "aarch64-macos.11.0",
    "x86_64-pc-windows-gnu": "x86_64-windows-gnu",
    "aarch64-pc-windows-gnu": "aarch64-windows-gnu",
    "wasm32-unknown-emscripten": "wasm32-emscripten",
}

# What kernels in WebAssembly call: memory by sizes of 64 bits, a core that no other thread wants, and the
# product of 128 bits that LLVM makes of one of 64 bits.
WASM_RUNTIME_NAMES = ("malloc", "free", "sched_yield")
WASM_RUNTIME = """
typedef unsigned long long u64;
typedef unsigned __int128 u128;
void *malloc(__SIZE_TYPE__);
void free(void *);
void *kernel_malloc(u64 size) { return malloc((__SIZE_TYPE__)size); }
void kernel_free(void *memory) { free(memory); }
int kernel_sched_yield(void) { return 0; }
__attribute__((visibility("hidden"))) u128 __multi3(u128 a, u128 b) {
  u64 a0 = (unsigned)a, a1 = (u64)a >> 32, b0 = (unsigned)b, b1 = (u64)b >> 32;
  u64 low = a0 * b0, left = a1 * b0, right = a0 * b1;
  u64 middle = (low >> 32) + (unsigned)left + (unsigned)right;
  u64 high = a1 * b1 + (left >> 32) + (right >> 32) + (middle >> 32);
  high += (u64)a * (u64)(b >> 64) + (u64)(a >> 64) * (u64)b;
  return ((u128)high << 64) | (middle << 32) | (unsigned)low;
}
"""


def build(
    name: str, folder: Path = FOLDER, pointers: Sequence[FunctionPointer] | None = None, n_processes: int = 1
) -> Path:
    """Build the library of a target, with the kernels of these pointers; return its path.

    By default, they are all kernels of the `catalogue`. More than one process show their progress.

    A process builds one library: kernels are translated with the constants of its target. It is a
    RuntimeError if this process has imported kernels already, if the environment has settings that change
    kernels, if this machine cannot build for the target, or if zig cannot link.
    """
    target = TARGETS[name]
    if found := [setting for setting in prebuilt.SETTINGS if os.environ.get(setting)]:
        raise RuntimeError(f"a library has none of the settings {', '.join(found)}: unset them")
    if target.is_x86 and not llvm.get_process_triple().startswith("x86_64"):
        raise RuntimeError("only an x86-64 machine has LLVM's assembler for the instruction CPUID")
    if f"{PACKAGE_NAME}.vectors.processor" in sys.modules:
        raise RuntimeError("kernels were imported for this processor: build the library in a new process")
    _begin(name)
    if pointers is None:
        pointers = list(importlib.import_module(f"{PACKAGE_NAME}.catalogue").all_pointers())
    from .shared import FUNCTIONS

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}{SUFFIXES[name.partition('-')[0]]}"
    tasks: list[FunctionPointer | str] = [*FUNCTIONS, *pointers]
    with tempfile.TemporaryDirectory() as objects:
        for symbol, code in _emit_own_functions(target):
            _write_object(name, Path(objects), symbol, code)
        write = functools.partial(_write_function, name, Path(objects))
        if n_processes == 1:
            for task in tasks:
                write(task)
        else:
            with ProcessPoolExecutor(n_processes, get_context("spawn")) as pool:
                list(tqdm(pool.map(write, tasks), name, len(tasks), unit="kernel"))
        _link(target, Path(objects), path)
    return path


@functools.cache
def _begin(name: str) -> None:
    """Prepare this process for the kernels of a target."""
    prebuilt.building = target = TARGETS[name]
    prebuilt.load_library.cache_clear()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()  # of the instruction CPUID
    if target.is_wasm:
        from .numba_internals import set_data_layout

        set_data_layout(str(_make_machine(target).target_data))


def _write_function(name: str, objects: Path, task: FunctionPointer | str) -> None:
    """Write the object file of a kernel, or of the shared function of this name."""
    _begin(name)
    from .jit import translate
    from .pointer import check_result, make_entry_kernel
    from .shared import FUNCTIONS

    if isinstance(task, str):
        importlib.import_module(f"{PACKAGE_NAME}.catalogue")  # which makes the shared functions
        _write_object(name, objects, task, FUNCTIONS[task].emit())
        return
    compiled, names, code = translate(*make_entry_kernel(task))
    check_result(task, compiled)
    _write_object(name, objects, task.symbol, _rename(code, names[0], task.symbol))


def _write_object(name: str, objects: Path, symbol: str, code: str | bytes) -> None:
    (objects / f"{symbol}.o").write_bytes(_emit_object_code(TARGETS[name], symbol, code))


def _rename(code: bytes, function: str, symbol: str) -> bytes:
    module = llvm.parse_bitcode(code)
    module.get_function(function).name = symbol
    return module.as_bitcode()


def _emit_object_code(target: Target, symbol: str, code: str | bytes) -> bytes:
    """Optimise a module for a target, and return its object code, in which `symbol` alone is visible."""
    module = llvm.parse_bitcode(code) if isinstance(code, bytes) else llvm.parse_assembly(code)
    if symbol in (RUNS_HERE, SOURCES) and target.is_x86:  # which every processor can run
        machine = _make_machine(target._replace(cpu="", features=""))
    else:
        machine = _make_machine(target)
    module.triple, module.data_layout = target.triple, str(machine.target_data)
    for item in (*module.functions, *module.global_variables):
        if not item.is_declaration:
            item.linkage = "external" if item.name == symbol else "internal"
    if symbol.startswith("fastnn_"):  # numba has run passes on the functions of all others
        for function in module.functions:
            if not function.is_declaration:
                builder = _make_pass_builder(machine, 3)
                builder.getFunctionPassManager().run(function, builder)
    # Numba's sequence: inlining and canonical loops, then everything.
    cheap = _make_pass_builder(machine, 0)
    passes = cheap.getModulePassManager()
    passes.add_loop_rotate_pass()
    passes.add_instruction_combine_pass()
    passes.add_jump_threading_pass()
    passes.run(module, cheap)
    full = _make_pass_builder(machine, 3, vectorises=True)
    full.getModulePassManager().run(module, full)
    module.verify()
    if target.is_wasm:  # a function has one type, and the system's functions take numbers of 32 bits
        for function in module.functions:
            if function.name in WASM_RUNTIME_NAMES:
                function.name = f"kernel_{function.name}"
    return machine.emit_object(module)


def _make_machine(target: Target) -> llvm.TargetMachine:
    return llvm.Target.from_triple(target.triple).create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, reloc="pic", codemodel="small"
    )


def _make_pass_builder(machine: llvm.TargetMachine, level: int, vectorises: bool = False) -> llvm.PassBuilder:
    """Return LLVM's pass builder for a level of optimisation, with or without the loop vectoriser."""
    options = llvm.create_pipeline_tuning_options(level)
    options.loop_vectorization, options.slp_vectorization = vectorises, False
    return llvm.create_pass_builder(machine, options)


def _link(target: Target, objects: Path, path: Path) -> None:
    """Link object files to a shared library; raise RuntimeError with zig's message if that fails."""
    files = sorted(str(file) for file in objects.iterdir())
    symbols = [Path(file).stem for file in files]
    zig = [sys.executable, "-m", "ziglang"]
    command = [*zig, "cc", "-target", ZIG_TARGETS[target.triple], "-shared", "-s"]
    if target.is_wasm:
        source, runtime = objects / "runtime.c", objects / "runtime.o"
        source.write_text(WASM_RUNTIME)
        options = "-O2 -fPIC -fno-builtin -mcpu=mvp+bulk_memory+sign_ext -c"
        subprocess.run([*command[:-2], *options.split(), str(source), "-o", str(runtime)], check=True)
        files.append(str(runtime))
        linker = "wasm-ld -shared --experimental-pic --no-entry --strip-all --allow-undefined"
        command = [*zig, *linker.split(), *(f"--export={symbol}" for symbol in symbols)]
    elif "linux" in target.triple:
        exported = objects / "exported.map"
        exported.write_text(f"{{ global: {'; '.join(EXPORTED)}; local: *; }};")
        command += ["-nostdlib", f"-Wl,--version-script={exported}", "-Wl,-Bsymbolic", "-Wl,--build-id=none"]
    elif "windows" in target.triple:
        exported = objects / "exported.def"
        exported.write_text("EXPORTS\n" + "\n".join(symbols) + "\n")
        files.append(str(exported))
    linked = objects / f"linked{path.suffix}"
    done = subprocess.run([*command, "-o", str(linked), *files], capture_output=True, text=True)
    if "No module named ziglang" in done.stderr:
        raise RuntimeError(
            'the package ziglang, which links libraries, is missing: run pip install "ziglang>=0.14"'
        )
    if done.returncode:
        raise RuntimeError(f"zig cannot link {path.name}: {done.stderr.strip()[-2000:]}")
    # Write whole or not at all, beside a process that uses an older library.
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".tmp", delete=False) as temporary:
        temporary.write(linked.read_bytes())
    os.chmod(temporary.name, 0o755)
    os.replace(temporary.name, path)


# --- what a library says of itself -------------------------------------------------------------------


def _emit_own_functions(target: Target) -> Iterator[tuple[str, str]]:
    """Yield the modules of `RUNS_HERE` and `SOURCES`."""
    module, byte = ir.Module(SOURCES), ir.IntType(8)
    text = bytearray(digest_sources().encode() + b"\0")
    constant = ir.Constant(ir.ArrayType(byte, len(text)), text)
    variable = ir.GlobalVariable(module, constant.type, SOURCES)
    variable.initializer, variable.global_constant = constant, True
    yield SOURCES, str(module)

    module = ir.Module(RUNS_HERE)
    function = ir.Function(module, ir.FunctionType(ir.IntType(32), [], False), RUNS_HERE)
    builder = ir.IRBuilder(function.append_basic_block())
    runs_here = _emit_feature_test(builder, target) if target.is_x86 else ir.IntType(1)(1)
    builder.ret(builder.zext(runs_here, ir.IntType(32)))
    yield RUNS_HERE, str(module)


# Leaf and register of the instruction CPUID, and bit, of each feature that not every x86-64 processor has
# (Intel, "Architectures software developer's manual", volume 2A, CPUID). `_emit_cpuid` numbers
# the registers. The bit of XSAVE is the one which says that the system uses the instruction.
FEATURE_BITS = {
    "sse3": (1, 2, 0), "ssse3": (1, 2, 9), "cx16": (1, 2, 13), "sse4.1": (1, 2, 19), "sse4.2": (1, 2, 20),
    "popcnt": (1, 2, 23), "fma": (1, 2, 12), "movbe": (1, 2, 22), "xsave": (1, 2, 27), "avx": (1, 2, 28),
    "f16c": (1, 2, 29), "bmi": (7, 1, 3), "avx2": (7, 1, 5), "bmi2": (7, 1, 8), "avx512f": (7, 1, 16),
    "avx512dq": (7, 1, 17), "avx512cd": (7, 1, 28), "avx512bw": (7, 1, 30), "avx512vl": (7, 1, 31),
    "sahf": (0x80000001, 2, 0), "lzcnt": (0x80000001, 2, 5),
}  # fmt: skip
# Bits of the register XCR0 that are set if the system keeps the registers of AVX, and of AVX-512.
AVX_STATE, AVX512_STATE = 0x6, 0xE6


def _emit_feature_test(builder: ir.IRBuilder, target: Target) -> ir.Value:
    """Emit the test whether the processor has a target's features, and the system keeps its registers."""
    features = [FEATURE_BITS[feature.removeprefix("+")] for feature in target.features.split(",")]
    has_all = ir.IntType(1)(1)
    for leaf in sorted({leaf for leaf, _, _ in features}):
        # A processor that lacks a leaf answers with another one: ask for the highest first.
        highest = builder.extract_value(_emit_cpuid(builder, leaf & 0x80000000), 0)
        registers = _emit_cpuid(builder, leaf)
        has_all = builder.and_(has_all, builder.icmp_unsigned(">=", highest, highest.type(leaf)))
        for register in range(4):
            wanted = sum(1 << bit for at, of, bit in features if (at, of) == (leaf, register))
            found = builder.and_(builder.extract_value(registers, register), highest.type(wanted))
            has_all = builder.and_(has_all, builder.icmp_unsigned("==", found, highest.type(wanted)))
    if target.register_bytes == 16:
        return has_all
    # The instruction XGETBV exists if XSAVE is in use, which is among the features.
    state = AVX512_STATE if target.register_bytes == 64 else AVX_STATE
    with builder.if_else(has_all) as (then, otherwise):
        with then:
            word = ir.IntType(32)
            kind = ir.FunctionType(ir.LiteralStructType([word, word]), [word])
            read = ir.InlineAsm(kind, "xgetbv", "={eax},={edx},{ecx}", True)
            found = builder.and_(builder.extract_value(builder.call(read, [word(0)]), 0), word(state))
            keeps, after = builder.icmp_unsigned("==", found, word(state)), builder.block
        with otherwise:
            before = builder.block
    result = builder.phi(ir.IntType(1))
    result.add_incoming(keeps, after)
    result.add_incoming(ir.IntType(1)(0), before)
    return result


def _emit_cpuid(builder: ir.IRBuilder, leaf: int) -> ir.Value:
    """Emit the instruction CPUID; return the struct of the registers eax, ebx, ecx and edx."""
    word = ir.IntType(32)
    kind = ir.FunctionType(ir.LiteralStructType([word] * 4), [word, word])
    instruction = ir.InlineAsm(kind, "cpuid", "={eax},={ebx},={ecx},={edx},{eax},{ecx}", True)
    return builder.call(instruction, [word(leaf), word(0)])


def find_target() -> str:
    has = llvm.get_host_cpu_features()
    for name in prebuilt.list_targets():
        features = TARGETS[name].features.split(",")
        if not TARGETS[name].is_x86 or all(has.get(feature[1:]) for feature in features):
            return name
    raise RuntimeError(f"there is no target for {llvm.get_process_triple()}: numba compiles all kernels")


def main() -> None:
    """Build the libraries named by the arguments, one after the other, each on all cores."""
    parser = argparse.ArgumentParser(prog="python -m fastnn_kernels.compiler.library", description=__doc__)
    parser.add_argument("target", nargs="*", help=f"one of {', '.join(TARGETS)}; by default this machine's")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for the libraries")
    options = parser.parse_args()
    names = options.target or [find_target()]
    for name in names:
        if name not in TARGETS:
            parser.error(f"{name!r} is not a target: choose one of {', '.join(TARGETS)}")
    if len(names) == 1:
        path = build(names[0], options.folder, n_processes=os.cpu_count() or 1)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")
        return
    program = [sys.executable, "-m", "fastnn_kernels.compiler.library", "--folder", str(options.folder)]
    for name in names:  # a process has one target
        subprocess.run([*program, name], check=True)


if __name__ == "__main__":
    main()
