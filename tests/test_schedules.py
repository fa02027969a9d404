"""Learning-rate schedules: closed forms, and properties of every schedule."""

import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastnn import CosineDecay, ExponentialDecay, InverseTimeDecay, OneCycle, StepDecay, WarmUp, schedules
from fastnn.schedules import SCHEDULES, Constant, CosineLog, FunctionSchedule, Schedule, resolve_schedule

# Numbers below the smallest normal float count as 0.
positive_fractions = st.floats(0, 1, exclude_min=True, allow_subnormal=False)
lengths = st.integers(1, 300) | st.integers(1, 2**63 - 1) | positive_fractions
lengths |= st.integers(1, 20).map(lambda n: 1 / n)
# Arguments in [0, 1], in [1, inf) and in [0, inf): ordinary values and extreme ones.
fractions = st.floats(0, 1, allow_subnormal=False)
multiples = st.one_of(st.floats(1, 5), st.floats(1, allow_infinity=False), st.just(1 + 2**-52))
rates = st.floats(0, allow_infinity=False, allow_subnormal=False) | st.floats(0, 100, allow_subnormal=False)

falling = st.one_of(
    st.just(Constant()),
    st.builds(StepDecay, lengths, positive_fractions),
    st.builds(ExponentialDecay, lengths, positive_fractions),
    st.builds(InverseTimeDecay, lengths, rates),
    st.builds(CosineDecay, lengths, minimum=fractions),
)
rising = st.one_of(
    st.builds(CosineDecay, lengths, st.just(True), multiples, fractions),
    st.builds(OneCycle, positive_fractions, multiples, multiples),
)
any_schedule = st.recursive(
    falling | rising, lambda inner: st.builds(WarmUp, inner, lengths, fractions), max_leaves=2
)
totals = st.one_of(st.integers(1, 40), st.integers(1, 3000))


def run(schedule: Schedule, total: int) -> np.ndarray:
    return schedule.factors(np.arange(total), total)


@given(any_schedule, totals, st.data())
def test_factors_are_from_0_to_1_and_do_not_depend_on_other_steps(schedule, total, data):
    whole = run(schedule, total)
    assert (whole.shape, whole.dtype) == ((total,), np.float64)
    assert ((whole >= 0) & (whole <= 1)).all()
    steps = np.array(data.draw(st.lists(st.integers(0, total - 1), max_size=20)), np.int64)
    np.testing.assert_array_equal(schedule.factors(steps, total), whole[steps])


@given(any_schedule, st.integers(2**40, 2**62))
def test_copies_are_equal_and_factors_of_very_long_runs_are_from_0_to_1(schedule, total):
    factors = schedule.factors(np.array([0, 1, total // 3, total - 2, total - 1]), total)
    assert ((factors >= 0) & (factors <= 1)).all()
    assert eval(repr(schedule), vars(schedules)) == schedule
    assert pickle.loads(pickle.dumps(schedule)) == schedule
    assert hash(dataclasses.replace(schedule)) == hash(schedule)


@pytest.mark.parametrize("total", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("name", sorted(SCHEDULES))
def test_every_schedule_is_usable_by_its_bare_name(name, total):
    schedule = resolve_schedule(name)
    assert type(schedule) is SCHEDULES[name]
    factors = run(schedule, total)
    assert ((factors > 0) & (factors <= 1)).all()
    if name != "cosine_log" or total >= 7:  # all of fewer steps may lie near valleys
        assert factors.max() > 0.9  # the peak of a cycle may lie between two steps: 1 need not be reached


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
@example(3, 10, 3)
def test_a_fraction_of_whole_steps_is_those_steps(size, n, gamma):
    """A fraction means whole steps even where its product with the run's length rounds to another number."""
    total, fraction = size * n, float(Fraction(size, size * n))
    np.testing.assert_array_equal(run(StepDecay(1 / (2 * n * total)), total), run(StepDecay(1), total))
    for schedule in (
        lambda length: StepDecay(length, 1 / gamma),
        lambda length: CosineDecay(length, restarts=True),
        lambda length: CosineDecay(length, restarts=True, growth=1.5),
        lambda length: WarmUp("cosine_decay", length),
    ):
        of_run, of_steps = run(schedule(fraction), total), run(schedule(size), total)
        np.testing.assert_allclose(of_run, of_steps, rtol=1e-12, atol=1e-12)


@given(st.integers(1, 12), totals)
def test_n_periods_fill_a_run_of_any_length(n, total):
    """No further period begins in the last steps of a run: a restart there would set the full rate."""
    assert run(StepDecay(1 / n, 0.5), total)[-1] == 0.5 ** (min(n, total) - 1)
    for growth in (1, 2, 3):
        share = Fraction(1, sum(growth**k for k in range(n)))
        if share * total >= 2:
            factors = run(CosineDecay(float(share), restarts=True, growth=growth), total)
            assert factors[-1] < factors[-2]
            assert (np.diff(factors) > 0).sum() == n - 1


@pytest.mark.parametrize(
    ("make", "parameter", "closed_form"),
    [
        (StepDecay, positive_fractions, lambda step, size, gamma: gamma ** (step // size)),
        (ExponentialDecay, st.floats(1e-3, 1), lambda step, size, gamma: gamma ** (step / size)),
        (InverseTimeDecay, st.floats(0, 1e6), lambda step, size, rate: 1 / (1 + rate * step / size)),
    ],
)
@given(st.data(), st.integers(1, 50), totals)
def test_decays_are_their_closed_forms(make, parameter, closed_form, data, size, total):
    value = data.draw(parameter)
    expected = [closed_form(step, size, value) for step in range(total)]
    np.testing.assert_allclose(run(make(size, value), total), expected, rtol=1e-11, atol=1e-300)


@given(st.integers(1, 50), st.integers(1, 4), fractions, totals)
def test_cosine_decay_is_one_cycle_or_successive_cycles(cycle, growth, minimum, total):
    once = run(CosineDecay(cycle, minimum=minimum), total)
    assert (once[cycle:] == minimum).all()
    factors = run(CosineDecay(cycle, True, growth, minimum), total)
    expected, length = [], cycle
    while len(expected) < total:
        progress = np.arange(min(length, total)) / length
        expected.extend(minimum + (1 - minimum) * (1 + np.cos(np.pi * progress)) / 2)
        length *= growth
    np.testing.assert_allclose(factors, expected[:total], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(once[:cycle], expected[: min(cycle, total)], rtol=1e-13, atol=1e-16)


@given(st.integers(1, 60), fractions, totals)
def test_warm_up_is_a_line_and_then_the_schedule(length, start, total):
    inner = CosineDecay(0.5, minimum=0.25)
    factors = run(WarmUp(inner, length, start), total)
    line = [start + (1 - start) * (step + 1) / length for step in range(min(length, total))]
    np.testing.assert_allclose(factors[:length], line, rtol=1e-14)
    if total > length:
        np.testing.assert_array_equal(factors[length:], run(inner, total - length))


def test_one_cycle_begins_peaks_and_ends_at_the_given_factors():
    factors = run(OneCycle(pct_start=0.25, div_factor=10, final_div_factor=100), 40)
    assert factors[[0, 9, 39]] == pytest.approx([0.1, 1, 0.001])
    assert (np.diff(factors[:10]) > 0).all()
    assert (np.diff(factors[9:]) < 0).all()
    assert run(OneCycle(pct_start=1), 3) == pytest.approx([0.04, 0.52, 1])
    for total, expected in [(1, [1]), (2, [1, 4e-6]), (3, [1, (1 + 4e-6) / 2, 4e-6])]:
        assert run(OneCycle(), total) == pytest.approx(expected)


@pytest.mark.parametrize("value", [-0.5, math.nan, math.inf, "1", None, 1j, np.ones(1)])
def test_an_invalid_factor_is_refused_with_its_step(value):
    schedule = resolve_schedule(lambda step: 1.0 if step < 7 else value)
    assert run(schedule, 7).tolist() == [1.0] * 7
    with pytest.raises(ValueError, match="factor at step 7") as caught:
        run(schedule, 9)
    assert repr(value) in str(caught.value)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (lambda step, total: step / total, [0, 0.25, 0.5]),
        (lambda step, total=2: step / total, [0, 0.25, 0.5]),
        (lambda step, gamma=0.5: gamma**step, [1, 0.5, 0.25]),
        (lambda *steps: len(steps), [1, 1, 1]),
        (math.sqrt, [0, 1, math.sqrt(2)]),
        ([1.0, 0.5, 0.1, 0.0].__getitem__, [1, 0.5, 0.1]),  # its signature is unknown
        (lambda step: np.float32(type(step) is int), [1, 1, 1]),
    ],
)
def test_a_function_may_take_the_number_of_steps(function, expected):
    assert resolve_schedule(function).factors(np.arange(3), 4).tolist() == expected


@pytest.mark.parametrize("cycles", [1, 2, 4, 7])
def test_cosine_log_is_the_formula_and_0_in_its_valleys(cycles):
    """The closed form by half angles is sin^2(pi log2(...)), which is 0 at the end of every cycle."""
    schedule, total = CosineLog(cycles), 2**cycles - 1
    t = (np.arange(1000) + 0.5) / 1000
    expected = np.sin(np.pi * np.log2(1 + total * t)) ** 2
    np.testing.assert_allclose(schedule.factors(np.arange(1000), 1000), expected, atol=1e-12)
    valleys = schedule.valleys(total)
    assert valleys.tolist() == [2**k - 1 for k in range(1, cycles + 1)]
    fine = 1000 * total
    factors = schedule.factors(np.arange(fine), fine)
    assert (factors[1000 * valleys - 1] < 1e-4).all()
    assert factors.max() > 0.9999


def test_anything_else_is_refused_with_a_remedy():
    for wrong in ("cosine", "Constant", "", None, 0.1, ["constant"], {}, float):
        with pytest.raises(ValueError, match="schedule must be one of .* or a function of the step") as e:
            resolve_schedule(wrong)
        assert all(repr(text) in str(e.value) for text in (*SCHEDULES, wrong))
    for resolve in (resolve_schedule, WarmUp):
        with pytest.raises(ValueError, match=r"call it, as in OneCycle\(\)"):
            resolve(OneCycle)
    for function in (0.5, CosineDecay, Constant(), lambda: 1.0, lambda a, b, c: 1.0, lambda *, step: 1.0):
        with pytest.raises(ValueError, match="function must take a step"):
            FunctionSchedule(function)


# Values that are refused as a length, as a fraction, and so on.
NOT_LENGTHS = [0, -1, 2**63, 0.0, -0.5, 1.5, 10.0, math.nan, math.inf, True, np.True_, "0.1", None, 1j, [1]]
NOT_FRACTIONS = [-0.1, 1.1, 2, 10**400, math.nan, math.inf, True, False, "0.1", None, 1j]
NOT_POSITIVE_FRACTIONS = [0, 0.0, 1e-310, *NOT_FRACTIONS]
NOT_MULTIPLES = [0.99, 0, -2, 10**400, math.nan, math.inf, True, "2", None, 1j]
NOT_RATES = [-1e-9, -1, 10**400, math.nan, math.inf, True, False, "2", None, 1j]

WRONG = [
    (StepDecay, "step_size", NOT_LENGTHS),
    (StepDecay, "gamma", NOT_POSITIVE_FRACTIONS),
    (ExponentialDecay, "decay_steps", NOT_LENGTHS),
    (ExponentialDecay, "gamma", NOT_POSITIVE_FRACTIONS),
    (InverseTimeDecay, "decay_steps", NOT_LENGTHS),
    (InverseTimeDecay, "decay_rate", NOT_RATES),
    (CosineDecay, "cycle", NOT_LENGTHS),
    (CosineDecay, "restarts", [0, 1, 2.0, "True", None]),
    (CosineDecay, "growth", NOT_MULTIPLES),
    (CosineDecay, "minimum", NOT_FRACTIONS),
    (CosineLog, "cycles", [0, -1, 1.5, True, "4", None, 2**63, 53]),
    (OneCycle, "pct_start", NOT_POSITIVE_FRACTIONS),
    (OneCycle, "div_factor", NOT_MULTIPLES),
    (OneCycle, "final_div_factor", NOT_MULTIPLES),
    (WarmUp, "schedule", ["cosine", None, 1]),
    (WarmUp, "length", NOT_LENGTHS),
    (WarmUp, "start", NOT_FRACTIONS),
]


@pytest.mark.parametrize(("schedule", "argument", "values"), WRONG)
def test_wrong_arguments_are_named_with_their_value(schedule, argument, values):
    for value in values:
        with pytest.raises(ValueError, match=f"^{argument} must be ") as caught:
            schedule(**{argument: value})
        assert f"got {value!r}" in str(caught.value)


def test_every_argument_is_checked():
    arguments = {(kind, field.name) for kind in SCHEDULES.values() for field in dataclasses.fields(kind)}
    assert arguments == {(schedule, argument) for schedule, argument, _ in WRONG}


def test_arguments_that_contradict_each_other_are_refused_with_a_remedy():
    with pytest.raises(ValueError, match="growth is 2.0, but .* set restarts=True"):
        CosineDecay(0.1, growth=2)
    with pytest.raises(ValueError, match="got 100.0: write 100 for a hundred steps"):
        WarmUp(length=100.0)
    with pytest.raises(TypeError, match="factors"):
        Schedule()
