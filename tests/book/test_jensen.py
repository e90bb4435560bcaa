"Laws of entropy, divergence and the Jensen gap on distributions that hypothesis makes up."
import math

import numpy as np
import pytest
import scipy.special
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from em_notes.book.jensen import check_distribution, entropy, jensen_gap, kl

laws = settings(deadline=None, max_examples=60, derandomize=True)


@st.composite
def distributions(draw, count=1, zeros=True, batch=None):
    "`count` distributions of one shape (..., k), some entries tiny or zero."
    shape = draw(array_shapes(min_dims=1, max_dims=3, max_side=5)) if batch is None else batch
    out = []
    for _ in range(count):
        exponents = draw(arrays(float, shape, elements=st.floats(-30, 0)))
        weights = 10.0**exponents
        if zeros:
            weights = weights * draw(arrays(bool, shape))
        first = np.zeros(shape)
        first[..., 0] = (weights.sum(axis=-1) == 0) * 1.0
        weights = weights + first
        out.append(weights / weights.sum(axis=-1, keepdims=True))
    return out if count > 1 else out[0]


@laws
@given(distributions())
def test_entropy_lies_between_zero_and_log_of_the_support(p):
    H = entropy(p)
    assert H.shape == p.shape[:-1]
    assert (H >= 0).all() and (H <= np.log((p > 0).sum(axis=-1)) + 1e-14).all()


@laws
@given(distributions())
def test_entropy_is_that_of_scipy(p):
    np.testing.assert_allclose(entropy(p), scipy.stats.entropy(p, axis=-1), rtol=1e-12, atol=1e-14)


@laws
@given(st.integers(1, 50))
def test_uniform_entropy_is_log_k_and_point_entropy_is_zero(k):
    assert math.isclose(entropy(np.full(k, 1 / k)), math.log(k), rel_tol=1e-14, abs_tol=1e-15)
    assert entropy(np.eye(k)[0]) == 0 and not np.signbit(entropy(np.eye(k)[0]))


@laws
@given(distributions(), distributions())
def test_entropy_adds_for_independent_draws(p, r):
    p, r = p.reshape(-1, p.shape[-1])[0], r.reshape(-1, r.shape[-1])[0]
    assert np.isclose(entropy(np.outer(p, r).ravel()), entropy(p) + entropy(r), rtol=1e-12, atol=1e-13)


@laws
@given(distributions(count=2))
def test_kl_is_never_negative_and_beats_pinsker(pair):
    q, p = pair
    D = kl(q, p)
    assert D.shape == q.shape[:-1]
    # near equality both sides are roundings of 1e-15
    assert (D >= 0.5 * abs(q - p).sum(axis=-1) ** 2 - 1e-14).all()
    assert ((D == np.inf) == ((q > 0) & (p == 0)).any(axis=-1)).all()
    assert not np.isnan(D).any()


@laws
@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_kl_is_zero_for_equals_only(k, seed):
    "A small step away costs half of sum step^2 / p, however small; no step costs nothing."
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.full(k, 5.0)) * 0.9 + 0.1 / k
    step = rng.normal(size=k)
    step -= step.mean()
    step *= 1e-4 * p.min() / abs(step).max()
    assert abs(kl(p, p.copy())) < 1e-15
    cost = (step**2 / p).sum() / 2
    assert np.isclose(kl(p + step, p), cost, rtol=1e-3, atol=1e-15) and np.isclose(kl(p, p + step), cost, rtol=1e-3, atol=1e-15)


@laws
@given(distributions(count=2))
def test_kl_is_the_plain_sum(pair):
    q, p = pair
    plain = [sum(a * (math.log(a) - math.log(b)) if b else math.inf for a, b in zip(u, v) if a)
             for u, v in zip(q.reshape(-1, q.shape[-1]), p.reshape(-1, p.shape[-1]))]
    np.testing.assert_allclose(kl(q, p).ravel(), plain, rtol=1e-10, atol=1e-13)


@laws
@given(distributions(count=2, zeros=False))
def test_kl_is_cross_entropy_minus_entropy(pair):
    q, p = pair
    np.testing.assert_allclose(kl(q, p), -(q * np.log(p)).sum(axis=-1) - entropy(q), rtol=1e-12, atol=1e-12)


@laws
@given(distributions(count=2, batch=(6,)))
def test_merging_states_never_raises_kl(pair):
    q, p = pair
    merge = lambda a: np.append(a[:4], a[4:].sum())
    fine, coarse = kl(q, p), kl(merge(q), merge(p))
    assert coarse <= fine + 1e-13 * (1 + abs(coarse)) or fine == np.inf


@laws
@given(distributions(count=4, batch=(3,)))
def test_kl_adds_for_independent_pairs(four):
    q, p, r, s = four
    both, parts = kl(np.outer(q, r).ravel(), np.outer(p, s).ravel()), kl(q, p) + kl(r, s)
    assert both == parts or np.isclose(both, parts, rtol=1e-11, atol=1e-12)


def test_kl_takes_the_smallest_floats():
    tiny = 5e-324
    assert np.isclose(kl([0.5, 0.5], [1.0, tiny]), 0.5 * math.log(0.5) + 0.5 * (math.log(0.5) - math.log(tiny)))
    assert abs(kl([1.0, tiny], [1.0, 0.5e-6])) < 1e-6


CONVEX = [np.square, np.exp, np.abs, lambda x: np.maximum(x, 0.3), lambda x: -np.log(x + 11), lambda x: 1 / (x + 11)]


@laws
@given(distributions(), st.integers(0, 2**32 - 1), st.sampled_from(CONVEX))
def test_jensen_gap_has_the_sign_of_the_curvature(p, seed, f):
    x = np.random.default_rng(seed).uniform(-10, 10, size=p.shape)
    size = 1 + (p * abs(f(x))).sum(axis=-1)
    gap = jensen_gap(f, x, p)
    assert gap.shape == p.shape[:-1]
    assert (gap >= -1e-14 * size).all()
    np.testing.assert_array_equal(jensen_gap(lambda x: -f(x), x, p), -gap)


@laws
@given(distributions(), st.integers(0, 2**32 - 1), st.floats(-5, 5), st.floats(-5, 5))
def test_jensen_gap_of_a_line_is_zero_and_of_the_square_the_variance(p, seed, a, b):
    x = np.random.default_rng(seed).normal(size=p.shape)
    np.testing.assert_allclose(jensen_gap(lambda x: a * x + b, x, p), 0, atol=1e-13)
    mean = (p * x).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(jensen_gap(np.square, x, p), (p * (x - mean) ** 2).sum(axis=-1), atol=1e-13)


@laws
@given(distributions(count=2, zeros=False))
def test_kl_is_a_jensen_gap_on_full_support(pair):
    q, p = pair
    size = 1 + abs(q * np.log(p)).sum(axis=-1)
    ratio = p / q
    # where the ratio exceeds 1e9, its rounding in the mean is what limits the agreement
    D, J = kl(q, p), jensen_gap(lambda r: -np.log(r), ratio, q)
    assert (abs(D - J) <= 1e-12 * size).all()


def test_jensen_gap_never_evaluates_f_off_the_support():
    with np.errstate(all="raise"):
        assert jensen_gap(np.log, [0.0, 2.0, 8.0], [0.0, 0.5, 0.5]) == pytest.approx(0.5 * np.log(16) - np.log(5))
        assert jensen_gap(np.log, [np.nan, 2.0], [0.0, 1.0]) == 0


@laws
@given(distributions(batch=(3, 4, 2)), distributions(batch=(3, 4, 2)))
def test_axis_is_moveaxis(q, p):
    for axis in (0, 1, 2):
        a, b = np.moveaxis(q, -1, axis), np.moveaxis(p, -1, axis)
        np.testing.assert_allclose(entropy(a, axis), entropy(q), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(kl(a, b, axis), kl(q, p), rtol=1e-13, atol=1e-15)
        np.testing.assert_allclose(jensen_gap(np.square, b, a, axis), jensen_gap(np.square, p, q), rtol=1e-13, atol=1e-15)


@laws
@given(distributions(count=2, batch=(5, 3)))
def test_rows_of_a_batch_are_independent_and_arguments_stay(pair):
    q, p = pair
    before = q.copy(), p.copy()
    q.flags.writeable = p.flags.writeable = False
    np.testing.assert_array_equal(kl(q, p), [kl(a, b) for a, b in zip(q, p)])
    np.testing.assert_array_equal(entropy(q), [entropy(a) for a in q])
    assert (before[0] == q).all() and (before[1] == p).all()


@pytest.mark.parametrize("p, message", [
    ([0.5, 0.43], r"p sums to 0.93, expected 1; divide"),
    ([[0.5, 0.5], [0.2, 0.2]], r"p row \[1\] sums to 0.4"),
    ([1.2, -0.2], r"p\[1\] is -0.2, expected a number >= 0"),
    ([0.5, np.nan], r"p\[1\] is nan"),
    ([np.inf, 0.0], r"p sums to inf"),
    ([], r"p sums to 0"),
    (1.0, r"p is the number 1.0, expected an array"),
])
def test_what_is_no_distribution_is_refused(p, message):
    for call in (lambda: entropy(p), lambda: check_distribution(p), lambda: jensen_gap(np.square, 1.0, p)):
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(ValueError, match=message):
        kl([0.5, 0.5], p)


def test_other_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"q has 2 states and p has 3"):
        kl([0.5, 0.5], [0.2, 0.3, 0.5])
    with pytest.raises(ValueError, match=r"q has 1 states and p has 2"):
        kl([1.0], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"x holds inf where p > 0"):
        jensen_gap(np.exp, [1.0, np.inf], [0.5, 0.5])
    with pytest.raises(ValueError, match=r"q row \[0\] sums"):
        kl([[0.5, 0.6]], [[0.5, 0.5]])


def test_integers_and_float32_are_welcome():
    assert entropy([0, 1, 0]) == 0 and entropy(np.array([True, False])) == 0
    p = np.random.default_rng(0).dirichlet(np.ones(1000)).astype(np.float32)
    assert entropy(p).dtype == np.float64 and np.isclose(entropy(p), scipy.stats.entropy(p.astype(float)), rtol=1e-6)


def test_numbers_by_hand_and_published():
    q, p = [0.5, 0.5], [0.9, 0.1]
    assert round(kl(q, p), 3) == 0.511 and round(kl(p, q), 3) == 0.368 and round(entropy(p), 3) == 0.325
    # S&P 500, ten years from 1999: -1.38 % a year where the average return is +0.67 %
    growth = 1 + np.array([21.04, -9.10, -11.89, -22.10, 28.68, 10.88, 4.91, 15.79, 5.49, -37.00]) / 100
    log_rate = np.log(growth.mean()) + jensen_gap(np.log, growth, np.full(10, 0.1))
    assert round(100 * math.expm1(log_rate), 2) == -1.38
    # Weldon's dice: the least divergence from what happened is at 0.3377, 13.5 nats better than fair
    throws = np.array([185, 1149, 3265, 5475, 6114, 5194, 3067, 1331, 403, 105, 14, 4, 0])
    seen, model = throws / throws.sum(), lambda t: scipy.stats.binom.pmf(np.arange(13), 12, t)
    grid = np.arange(0.3300, 0.3450, 0.0001)
    assert np.isclose(grid[np.argmin([kl(seen, model(t)) for t in grid])], 0.3377, atol=1e-9)
    assert round(throws.sum() * (kl(seen, model(1 / 3)) - kl(seen, model(0.3377))), 1) == 13.5


@laws
@given(distributions(zeros=False), st.integers(0, 2**32 - 1))
def test_the_gap_of_the_logarithm_is_a_divergence(q, seed):
    x = np.random.default_rng(seed).uniform(0.1, 10, size=q.shape)
    shares = q * x / (q * x).sum(axis=-1, keepdims=True)
    np.testing.assert_allclose(kl(q, shares), -jensen_gap(np.log, x, q), rtol=1e-10, atol=1e-13)


def test_the_log_of_a_mean_is_low():
    "Of n exponential draws: digamma(n) - log n, about -Var / (2 n m^2)."
    rng = np.random.default_rng(0)
    logs = np.log(rng.gamma(100, 1 / 100, size=400_000))
    assert abs(logs.mean() - (scipy.special.digamma(100) - np.log(100))) < 4 * logs.std() / 400_000**0.5
    assert -0.0056 < logs.mean() < -0.0044
