"""Entries of the cache: a header in JSON, which names no Python object and may be broken, and code."""

import json
import random
from typing import NamedTuple

import pytest
from kernel_packages import told_while_compiled
from numba import types

from fastnn_kernels.compiler import jit
from fastnn_kernels.compiler.cache import read_entries
from fastnn_kernels.compiler.entries import packed, plain_type, type_of, unpacked
from fastnn_kernels.compiler.jit import Kernel, Kind, kernel
from fastnn_kernels.compiler.numba_internals import cpu_context


class Pair(NamedTuple):
    first: float
    second: float


ARRAY = types.Array(types.float32, 2, "F", readonly=True, aligned=False)


@pytest.mark.parametrize(
    "kind",
    [
        types.none, types.boolean, types.uint8, types.intp, types.float32, types.complex128, ARRAY,
        types.literal(True), types.literal(1), types.Tuple([]), types.UniTuple(types.int64, 2),
        types.Tuple([types.float64, types.Tuple([types.boolean, ARRAY]), types.literal(3)]),
    ],
)  # fmt: skip
def test_types_of_results_survive(kind):
    header, code = unpacked(packed({"result": plain_type(kind)}, b"\n\0code\n"))
    assert type_of(header["result"]) == kind
    assert code == b"\n\0code\n"


@pytest.mark.parametrize("kind", [types.NamedUniTuple(types.float64, 2, Pair), types.unicode_type])
def test_other_types_have_no_plain_form(kind):
    with pytest.raises(ValueError, match="no result can be of type"):
        plain_type(kind)


BROKEN_TYPES = (
    "os.system", "Vector(float64 x 4)", None, 1, [], ["tuple", "x"], ["array", "float64"], {},
    ["constant", None], ["constant", [1]], ["array", "none", "1", "C", True, True],
    ["array", "float64", 1, "X", True, True], ["array", ["tuple"], 1, "C", True, True],
    ["array", "float64", 10**9, "C", True, True],
)  # fmt: skip


def test_no_broken_entry_breaks_a_run(monkeypatch):
    """Each payload has a valid checksum, and is loaded by a kernel that is not in the process yet."""

    def make():
        @kernel
        def half(x):
            return 0.5 * x

        return half

    assert make()(3.0) == 1.5
    cache, signature = make().cache, (types.float64,)
    name = cache.file_name(signature, cpu_context().codegen(), Kernel.wanted)
    (payload,) = read_entries(name)
    header, code = unpacked(payload)
    draw = random.Random(0)
    broken = [payload[:n] for n in (0, 1, *draw.sample(range(len(payload) - len(code)), 20))]
    broken += [draw.randbytes(n) for n in (1, 10, 1000, 100_000)] + [b"\n" + code, code, b"null\n" + code]
    broken += [b"[" * 100_000, b"1" * 100_000 + b"\n", b'"' + b"x" * 10**6, b"\x80\x04cos\nsystem\n."]
    broken.append(packed(header, b""))
    for key in header:
        broken.append(packed({other: header[other] for other in header if other != key}, code))
        broken += [packed(header | {key: value}, code) for value in (None, 1, "x", [1], ["x", "y"], {"x": 1})]
    names = header["names"]
    for wrong in ([], ["x"], names[1:], ["x", *names[1:]], [names[0], "x"], [*names, "x"], [*names, 1]):
        broken.append(packed(header | {"names": wrong}, code))
    broken += [packed(header | {"result": plain}, code) for plain in BROKEN_TYPES]
    for content in broken:
        monkeypatch.setattr(jit, "read_entries", lambda name, content=content: [content])
        assert cache._load(name, signature, cpu_context()) is None, content[:200]
    monkeypatch.setattr(jit, "read_entries", lambda name: [*broken, payload])
    again = make()
    assert again(3.0) == 1.5
    assert again.stats.cache_hits


def test_an_entry_holds_no_copy_of_the_code_for_linking():
    """Other kernels inline the part, which has an entry of its own."""

    @kernel
    def third(x):
        return x / 3.0

    assert third(3.0) == 1.0
    (payload,) = read_entries(third.cache.file_name((types.float64,), cpu_context().codegen(), Kind.CALLABLE))
    header, code = unpacked(payload)
    assert set(header) == {"names", "result", "shared"}
    assert json.loads(payload.partition(b"\n")[0]) == header
    assert b"BC\xc0\xde" not in code  # the first bytes of bitcode


def test_a_part_whose_result_has_names_is_not_saved_but_its_caller_is():
    @kernel
    def pair(x):
        return Pair(x, 2.0 * x)

    def make():
        @kernel
        def total(x):
            found = pair(x)
            return found.first + found.second

        return total

    make()(1.5)
    total = make()
    assert total(1.5) == 4.5
    assert total.stats.cache_hits
    assert not any(
        jit.read_entries(pair.cache.file_name((types.float64,), cpu_context().codegen(), Kind.PART))
    )


def test_a_kernel_whose_result_has_names_causes_a_warning(monkeypatch):
    refusal = jit.refusal.__class__()
    monkeypatch.setattr(jit, "refusal", refusal)

    @kernel
    def pair(x):
        return Pair(x, 2.0 * x)

    with pytest.warns(RuntimeWarning, match=r"pair cannot be saved: no result can be of type Pair"):
        assert pair(1.5) == Pair(1.5, 3.0)


def test_a_loaded_kernel_prints_and_raises(capfd):
    def make():
        @kernel
        def checked(x):
            print(x)
            if x < 0:
                raise ValueError("negative")
            return x

        @kernel
        def caller(x):
            return checked(x) + 1

        return caller

    for _ in range(2):
        caller = make()
        assert caller(1.5) == 2.5
        with pytest.raises(ValueError, match="negative"):
            caller(-1.5)
        assert capfd.readouterr().out.split() == ["1.5", "-1.5"]
    assert caller.stats.cache_hits


def test_constants_of_the_interpreter_are_not_saved(monkeypatch):
    monkeypatch.setattr(jit, "refusal", jit.refusal.__class__())

    def refuse(compiled):
        raise ValueError("its code needs Python objects")

    monkeypatch.setattr(jit, "symbol_names", refuse)
    with pytest.warns(RuntimeWarning, match="cannot be saved: its code needs Python objects"):
        assert told_while_compiled(lambda: None)(1.5) == 2.5
