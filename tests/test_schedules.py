"""Learning-rate schedules: closed forms, and properties of every schedule."""

import dataclasses
import math
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastnn import schedules
from fastnn.schedules import (
    SCHEDULES,
    Constant,
    CosineDecay,
    CosineLog,
    ExponentialDecay,
    FunctionSchedule,
    InverseTimeDecay,
    OneCycle,
    Schedule,
    StepDecay,
    WarmUp,
    resolve_schedule,
)

lengths = st.one_of(
    st.integers(1, 300),
    st.integers(1, 2**63 - 1),
    st.floats(0, 1, exclude_min=True),
    st.integers(1, 20).map(lambda n: 1 / n),
)
# Arguments in [0, 1], in [1, inf) and in [0, inf): ordinary values and extreme ones.
fractions = st.floats(0, 1)
positive_fractions = st.floats(0, 1, exclude_min=True)
multiples = st.one_of(st.floats(1, 5), st.floats(1, allow_infinity=False), st.just(1 + 2**-52))
rates = st.one_of(st.floats(0, 100), st.floats(0, allow_infinity=False))

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
    """Return a schedule's factors for all steps of a run."""
    return schedule.factors(np.arange(total), total)


# --- properties of every schedule ----------------------------------------------------------------


@given(any_schedule, totals)
def test_factors_are_from_0_to_1(schedule, total):
    factors = run(schedule, total)
    assert factors.shape == (total,)
    assert factors.dtype == np.float64
    assert ((factors >= 0) & (factors <= 1)).all()


@given(any_schedule, totals, st.data())
def test_the_factor_of_a_step_does_not_depend_on_other_steps(schedule, total, data):
    """A schedule keeps no state between calls: the factors of steps may be requested in any order."""
    whole = run(schedule, total)
    steps = np.array(data.draw(st.lists(st.integers(0, total - 1), max_size=20)), np.int64)
    np.testing.assert_array_equal(schedule.factors(steps, total), whole[steps])


@given(any_schedule, st.integers(2**40, 2**62))
def test_factors_of_very_long_runs_are_from_0_to_1(schedule, total):
    steps = np.array([0, 1, total // 3, total - 2, total - 1])
    factors = schedule.factors(steps, total)
    assert ((factors >= 0) & (factors <= 1)).all()


@given(falling, totals)
def test_a_decay_starts_at_1_and_never_rises(schedule, total):
    factors = run(schedule, total)
    assert factors[0] == 1
    assert (np.diff(factors) <= 0).all()


@given(any_schedule)
def test_a_repr_a_pickle_and_a_copy_are_equal_to_the_schedule(schedule):
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


def test_schedules_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Constant().anything = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        StepDecay().gamma = 0.5


def test_the_base_class_cannot_be_instantiated():
    with pytest.raises(TypeError, match="factors"):
        Schedule()


# --- lengths -------------------------------------------------------------------------------------


def test_an_int_counts_steps_and_a_float_is_a_fraction_of_the_run():
    one_step, whole_run = StepDecay(1, 0.5), StepDecay(1.0, 0.5)
    assert run(one_step, 4).tolist() == [1, 0.5, 0.25, 0.125]
    assert run(whole_run, 4).tolist() == [1, 1, 1, 1]


@given(totals, st.integers(1, 50))
def test_a_fraction_means_at_least_one_step(total, n):
    for schedule in (StepDecay, ExponentialDecay, InverseTimeDecay, CosineDecay):
        factors = run(schedule(1 / (n * total)), total)
        np.testing.assert_array_equal(factors, run(schedule(1), total))
    np.testing.assert_array_equal(run(WarmUp(length=1 / (2 * n * total)), total), np.ones(total))


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 30))
@example(3, 10, 3)
def test_a_fraction_of_whole_steps_is_those_steps(size, n, gamma):
    """A fraction means whole steps even where its product with the run's length rounds to another number."""
    total, fraction = size * n, float(Fraction(size, size * n))
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


@pytest.mark.parametrize("schedule", [StepDecay, ExponentialDecay, InverseTimeDecay, CosineDecay])
def test_a_length_may_exceed_the_run(schedule):
    assert run(schedule(10**6), 10).min() > 0.99
    np.testing.assert_array_equal(run(schedule(10**6), 10), schedule(10**6).factors(np.arange(10), 10**6))


def test_numpy_numbers_become_python_numbers():
    schedule = CosineDecay(np.int32(3), np.True_, np.float32(2), np.float64(0.5))
    assert schedule == CosineDecay(3, True, 2.0, 0.5)
    assert repr(schedule) == "CosineDecay(cycle=3, restarts=True, growth=2.0, minimum=0.5)"
    assert [type(value) for value in vars(schedule).values()] == [int, bool, float, float]
    assert StepDecay(np.float32(0.5)) == StepDecay(0.5)
    assert StepDecay(Fraction(1, 2)) == StepDecay(0.5)


# --- closed forms --------------------------------------------------------------------------------


@given(st.integers(1, 50), positive_fractions, totals)
def test_step_decay_is_the_closed_form(step_size, gamma, total):
    expected = [gamma ** (step // step_size) for step in range(total)]
    np.testing.assert_allclose(run(StepDecay(step_size, gamma), total), expected, rtol=1e-13, atol=1e-300)


@given(st.integers(1, 50), st.floats(1e-3, 1), totals)
def test_exponential_decay_is_the_closed_form(decay_steps, gamma, total):
    expected = [math.exp(math.log(gamma) * step / decay_steps) for step in range(total)]
    factors = run(ExponentialDecay(decay_steps, gamma), total)
    np.testing.assert_allclose(factors, expected, rtol=1e-11, atol=1e-300)


@given(st.integers(1, 50), st.floats(0, 1e6), totals)
def test_inverse_time_decay_is_the_closed_form(decay_steps, decay_rate, total):
    expected = [1 / (1 + decay_rate * step / decay_steps) for step in range(total)]
    np.testing.assert_allclose(run(InverseTimeDecay(decay_steps, decay_rate), total), expected, rtol=1e-14)


@pytest.mark.parametrize("schedule", [ExponentialDecay(), InverseTimeDecay()])
def test_decays_by_default_end_at_a_tenth(schedule):
    assert schedule.factors(np.array([1000]), 1000) == pytest.approx(0.1)


@given(st.integers(1, 50), fractions, totals)
def test_cosine_decay_is_the_closed_form_and_stays_at_its_minimum(cycle, minimum, total):
    factors = run(CosineDecay(cycle, minimum=minimum), total)
    falls = np.arange(min(cycle, total))
    expected = minimum + (1 - minimum) * np.cos(np.pi / 2 * falls / cycle) ** 2
    np.testing.assert_allclose(factors[:cycle], expected, rtol=1e-13, atol=1e-16)
    assert (factors[cycle:] == minimum).all()


@given(st.integers(1, 20), st.integers(1, 4), fractions, totals)
def test_restarts_are_successive_cycles(cycle, growth, minimum, total):
    factors = run(CosineDecay(cycle, True, growth, minimum), total)
    expected, length = [], cycle
    while len(expected) < total:
        progress = np.arange(min(length, total)) / length
        expected.extend(minimum + (1 - minimum) * (1 + np.cos(np.pi * progress)) / 2)
        length *= growth
    np.testing.assert_allclose(factors, expected[:total], rtol=1e-11, atol=1e-12)


@given(lengths, fractions, totals)
def test_a_growth_just_above_1_equals_a_growth_of_1(cycle, minimum, total):
    almost = run(CosineDecay(cycle, True, 1 + 2**-52, minimum), total)
    np.testing.assert_allclose(almost, run(CosineDecay(cycle, True, 1, minimum), total), atol=1e-8)


@given(st.integers(1, 60), fractions, totals)
def test_warm_up_is_a_line_and_then_the_schedule(length, start, total):
    inner = CosineDecay(0.5, minimum=0.25)
    factors = run(WarmUp(inner, length, start), total)
    line = [start + (1 - start) * (step + 1) / length for step in range(min(length, total))]
    np.testing.assert_allclose(factors[:length], line, rtol=1e-14)
    if total > length:
        np.testing.assert_array_equal(factors[length:], run(inner, total - length))


def test_warm_up_rises_to_the_first_factor_of_the_schedule():
    assert run(WarmUp(OneCycle(div_factor=8), length=4), 20)[:5] == pytest.approx(
        np.array([1, 2, 3, 4, 4]) / 32
    )
    assert run(WarmUp(lambda step: 3.0 + step, length=2), 4).tolist() == [1.5, 3, 3, 4]


@given(positive_fractions, totals, fractions)
def test_no_factor_of_a_warm_up_is_0(length, total, start):
    assert run(WarmUp(length=length, start=start), total).min() > 0


def test_warm_ups_may_be_nested():
    assert run(WarmUp(WarmUp(length=2), length=2), 5).tolist() == [0.25, 0.5, 0.5, 1, 1]
    assert WarmUp("warm_up") == WarmUp(WarmUp(Constant()))


def test_one_cycle_begins_peaks_and_ends_at_the_given_factors():
    factors = run(OneCycle(pct_start=0.25, div_factor=10, final_div_factor=100), 40)
    assert factors[[0, 9, 39]] == pytest.approx([0.1, 1, 0.001])
    assert (np.diff(factors[:10]) > 0).all()
    assert (np.diff(factors[9:]) < 0).all()


@pytest.mark.parametrize(
    ("total", "expected"), [(1, [1]), (2, [1, 4e-6]), (3, [1, (1 + 4e-6) / 2, 4e-6]), (4, None)]
)
def test_one_cycle_of_a_short_run_begins_at_its_peak(total, expected):
    factors = run(OneCycle(), total)
    if expected:
        assert factors == pytest.approx(np.array(expected))
    assert np.isfinite(factors).all()


def test_one_cycle_without_a_fall_only_rises():
    assert run(OneCycle(pct_start=1), 3) == pytest.approx([0.04, 0.52, 1])


# --- functions and names -------------------------------------------------------------------------


def test_a_function_is_called_with_python_ints():
    requested = []

    def function(step):
        requested.append(step)
        return np.float32(step) / 4

    schedule = resolve_schedule(function)
    assert schedule == FunctionSchedule(function)
    factors = schedule.factors(np.array([2, 0, 3]), 10)
    assert factors.tolist() == [0.5, 0, 0.75]
    assert factors.dtype == np.float64
    assert requested == [2, 0, 3]
    assert {type(step) for step in requested} == {int}
    assert schedule.factors(np.array([], np.int64), 10).shape == (0,)


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


def test_cosine_log_with_too_many_cycles_is_refused():
    with pytest.raises(ValueError, match="cycles must be at most 52, got 53"):
        CosineLog(53)


def test_errors_of_a_function_are_raised_unchanged():
    with pytest.raises(ZeroDivisionError):
        run(resolve_schedule(lambda step: 1 / step), 3)


def test_a_schedule_object_is_not_copied():
    schedule = CosineDecay(minimum=0.1)
    assert resolve_schedule(schedule) is schedule
    assert WarmUp(schedule).schedule is schedule


def test_users_may_derive_schedules():
    class Half(Schedule):
        def factors(self, steps, total):
            return np.full(steps.shape, 0.5)

    assert run(WarmUp(Half(), length=2), 3).tolist() == [0.25, 0.5, 0.5]


@pytest.mark.parametrize("spec", ["cosine", "Constant", "", None, 0.1, ["constant"], {}, float])
def test_anything_else_is_refused_with_the_names_of_all_schedules(spec):
    with pytest.raises(
        ValueError, match="schedule must be one of .* or a function of the step, got"
    ) as caught:
        resolve_schedule(spec)
    for name in SCHEDULES:
        assert repr(name) in str(caught.value)
    assert repr(spec) in str(caught.value)


@pytest.mark.parametrize("schedule", sorted(SCHEDULES.values(), key=repr))
def test_a_class_is_refused_with_the_advice_to_call_it(schedule):
    for resolve in (resolve_schedule, WarmUp):
        with pytest.raises(ValueError, match=rf"call it, as in {schedule.__name__}\(\)"):
            resolve(schedule)


@pytest.mark.parametrize(
    "function",
    [
        0.5, None, "constant", CosineDecay, Constant(), float,
        lambda: 1.0, lambda step, total, gamma: 1.0, lambda *, step: 1.0,
    ],
)  # fmt: skip
def test_a_function_schedule_takes_only_functions_of_steps(function):
    with pytest.raises(ValueError, match="function must take a step"):
        FunctionSchedule(function)


# --- arguments -----------------------------------------------------------------------------------

# Values that are refused as a length, as a fraction, and so on.
NOT_LENGTHS = [0, -1, 2**63, 0.0, -0.5, 1.5, 10.0, math.nan, math.inf, True, np.True_, "0.1", None, 1j, [1]]
NOT_FRACTIONS = [-0.1, 1.1, 2, 10**400, math.nan, math.inf, True, False, "0.1", None, 1j]
NOT_POSITIVE_FRACTIONS = [0, 0.0, *NOT_FRACTIONS]
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
    (CosineLog, "cycles", [0, -1, 1.5, True, "4", None, 2**63]),
    (OneCycle, "pct_start", NOT_POSITIVE_FRACTIONS),
    (OneCycle, "div_factor", NOT_MULTIPLES),
    (OneCycle, "final_div_factor", NOT_MULTIPLES),
    (WarmUp, "schedule", ["cosine", None, 1]),
    (WarmUp, "length", NOT_LENGTHS),
    (WarmUp, "start", NOT_FRACTIONS),
]


@pytest.mark.parametrize(
    ("schedule", "argument", "value"),
    [(schedule, argument, value) for schedule, argument, values in WRONG for value in values],
)
def test_wrong_arguments_are_named_with_their_value(schedule, argument, value):
    with pytest.raises(ValueError, match=f"^{argument} must be ") as caught:
        schedule(**{argument: value})
    assert f"got {value!r}" in str(caught.value)


def test_every_argument_is_checked():
    checked = {(schedule, argument) for schedule, argument, _ in WRONG}
    for schedule in SCHEDULES.values():
        for field in dataclasses.fields(schedule):
            assert (schedule, field.name) in checked


def test_growth_without_restarts_is_refused():
    with pytest.raises(ValueError, match="growth is 2.0, but .* set restarts=True"):
        CosineDecay(0.1, growth=2)


def test_a_float_that_counts_steps_is_refused_with_the_integer_to_write():
    with pytest.raises(ValueError, match="got 100.0: write 100 for a hundred steps"):
        WarmUp(length=100.0)
