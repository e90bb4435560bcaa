"Temperature and annealing against plain sums, k-means, differences and eigenvalues."
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from em_notes.book.annealing import (anneal, annealed_step, cluster_log_joint, critical_temperature, settle, tempered_evidence,
                                     tempered_free_energy, tempered_posterior)
from em_notes.book.free_energy import free_energy, log_evidence, posterior
from em_notes.book.jensen import entropy, kl
from em_notes.data.datasets import iris

laws = settings(deadline=None, max_examples=60, derandomize=True)
TEMPERATURES = st.sampled_from([0.05, 0.3, 1.0, 2.0, 50.0])


@st.composite
def tables(draw):
    "A table (n, k) with some probabilities zero, never a whole row, and distributions q that respect the zeros."
    n, k, scale = draw(st.integers(1, 6)), draw(st.integers(1, 7)), draw(st.sampled_from([0.1, 1, 10, 50]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    table = rng.normal(scale=scale, size=(n, k)) + draw(st.sampled_from([-1e4, -30, 0, 1e3]))
    keep = rng.integers(k, size=n)
    table[(rng.random((n, k)) < 0.3) & (np.arange(k) != keep[:, None])] = -np.inf
    q = (rng.dirichlet(np.ones(k), size=n) + 1e-12) * (table > -np.inf)
    return table, q / q.sum(axis=1, keepdims=True)


def size(q, table, T):
    "The sum of the absolute terms of F, to which rounding is relative."
    return 1 + (q * np.where(q > 0, abs(table), 0)).sum(axis=-1) + T * np.log(q.shape[-1]) + abs(table.max(axis=-1))


@laws
@given(tables(), TEMPERATURES)
def test_evidence_is_free_energy_plus_divergence(case, T):
    table, q = case
    best = tempered_evidence(table, T)
    np.testing.assert_allclose(best, T * logsumexp(table / T, axis=1), rtol=1e-12)
    np.testing.assert_allclose(tempered_posterior(table, T), softmax(table / T, axis=1), atol=1e-12 * (1 + abs(table.max())) / T)
    # the divergence from logarithms, as the stored posterior may underflow to 0
    log_q = np.where(q > 0, np.log(np.where(q > 0, q, 1)) - np.where(q > 0, (table - best[:, None]) / T, 0), 0)
    D = (q * log_q).sum(axis=1)
    assert (abs(tempered_free_energy(q, table, T) + T * D - best) <= 1e-12 * (size(q, table, T) + T * abs(D))).all()


@laws
@given(tables(), TEMPERATURES)
def test_no_q_does_better_than_the_tempered_posterior(case, T):
    table, q = case
    best, p = tempered_evidence(table, T), tempered_posterior(table, T)
    assert (abs(tempered_free_energy(p, table, T) - best) <= 1e-12 * size(p, table, T)).all()
    loss = best - tempered_free_energy(q, table, T)
    # Pinsker
    assert (loss >= T / 2 * abs(q - p).sum(axis=1) ** 2 - 1e-12 * size(q, table, T)).all()


@laws
@given(tables())
def test_at_temperature_one_nothing_changes(case):
    table, q = case
    np.testing.assert_allclose(tempered_posterior(table), posterior(table), rtol=1e-12)
    np.testing.assert_allclose(tempered_evidence(table), log_evidence(table), rtol=1e-12)
    np.testing.assert_array_equal(tempered_free_energy(q, table), free_energy(q, table))


@laws
@given(tables(), st.lists(st.floats(0.01, 100), min_size=2, max_size=5, unique=True))
def test_heat_raises_the_evidence_and_the_entropy(case, temperatures):
    table, _ = case
    hot = sorted(temperatures)
    best = np.array([tempered_evidence(table, T) for T in hot])
    H = np.array([entropy(tempered_posterior(table, T)) for T in hot])
    assert (np.diff(best, axis=0) >= -1e-12 * (1 + abs(best).max())).all()
    assert (np.diff(H, axis=0) >= -1e-8).all()  # H(q_T) rounds like spacing(table) / T
    # the slope is the entropy, so the rise lies between the entropies at both ends
    for a, b in zip(range(len(hot) - 1), range(1, len(hot))):
        rise, width, slack = best[b] - best[a], hot[b] - hot[a], 1e-11 * (1 + abs(best).max()) + 1e-6 * (hot[b] - hot[a])
        assert (rise >= width * H[a] - slack).all() and (rise <= width * H[b] + slack).all()


@laws
@given(tables())
def test_limits_of_temperature(case):
    table, _ = case
    k, possible, top = table.shape[1], table > -np.inf, table.max(axis=1)
    for T in (1e-300, 1e-9):
        assert (abs(tempered_evidence(table, T) - top) <= T * np.log(k) + 1e-15 * abs(top)).all()
        assert (tempered_posterior(table, T).max(axis=1) >= 1 / k - 1e-15).all()
    np.testing.assert_allclose(tempered_posterior(table, 1e9), possible / possible.sum(axis=1, keepdims=True), atol=1e-6)


def test_extreme_numbers():
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        assert (tempered_posterior([0.0, -1.0], 1e-300) == [1, 0]).all()
    np.testing.assert_array_equal(tempered_posterior([0.0, -np.inf, 0.0], 0.5), [0.5, 0, 0.5])


@pytest.mark.parametrize("T", [0, -1.0, np.nan, np.inf])
def test_a_temperature_is_a_positive_number(T):
    for call in (lambda: tempered_posterior([0.0, 1.0], T), lambda: tempered_evidence([0.0, 1.0], T),
                 lambda: tempered_free_energy([0.5, 0.5], [0.0, 1.0], T)):
        with pytest.raises(ValueError, match="temperature is .*, expected a finite number above 0"):
            call()


def test_the_model_is_normalised():
    x = np.stack(np.meshgrid(*[np.linspace(-9, 10, 400)] * 2), axis=-1).reshape(-1, 2)
    joint = cluster_log_joint(x, np.array([[0.0, 0.0], [1.0, 2.0]]), 0.8)
    np.testing.assert_allclose(np.exp(joint).sum(axis=0) * (19 / 399) ** 2, 0.5, rtol=1e-6)


def points(seed, n=60, d=3):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), rng


@laws
@given(st.integers(0, 10**6), TEMPERATURES, st.integers(1, 5))
def test_a_step_never_lowers_f_at_its_temperature(seed, T, k):
    x, rng = points(seed)
    means = x[rng.choice(len(x), k, replace=False)]
    F = []
    for _ in range(8):
        F.append(tempered_evidence(cluster_log_joint(x, means, 0.7), T).sum())
        means = annealed_step(x, means, 0.7, T)
    assert (np.diff(F) >= -1e-11 * (1 + abs(np.array(F[1:])))).all()


@laws
@given(st.integers(0, 10**6), TEMPERATURES)
def test_the_means_of_a_step_are_the_best_for_its_responsibilities(seed, T):
    x, rng = points(seed)
    old = x[:3]
    q = tempered_posterior(cluster_log_joint(x, old, 0.7), T)
    best = tempered_free_energy(q, cluster_log_joint(x, annealed_step(x, old, 0.7, T), 0.7), T).sum()
    for scale in (1e-2, 1.0):
        other = annealed_step(x, old, 0.7, T) + scale * rng.normal(size=old.shape)
        assert tempered_free_energy(q, cluster_log_joint(x, other, 0.7), T).sum() < best


@laws
@given(st.integers(0, 10**6))
def test_cold_is_k_means_and_hot_is_one_cluster(seed):
    x, _ = points(seed)
    nearest = ((x[:, None] - x[:3]) ** 2).sum(2).argmin(1)
    np.testing.assert_allclose(annealed_step(x, x[:3], 0.7, 1e-6), [x[nearest == j].mean(0) for j in range(3)], atol=1e-6)
    np.testing.assert_allclose(annealed_step(x, x[:3], 0.7, 1e9), np.tile(x.mean(0), (3, 1)), atol=1e-5)


@laws
@given(st.integers(0, 10**6), st.floats(0.3, 3), st.sampled_from([0.5, 0.9, 1.1, 4.0]), st.integers(2, 5))
def test_small_displacements_grow_by_eigenvalue_over_spread(seed, sigma, relative, k):
    x, rng = points(seed)
    T = relative * critical_temperature(x, sigma)
    C = np.cov(x.T, bias=True)
    delta = 1e-6 * rng.normal(size=(k, 3))
    moved = annealed_step(x, x.mean(0) + delta, sigma, T) - x.mean(0)
    np.testing.assert_allclose(moved, (delta - delta.mean(0)) @ C / (sigma**2 * T), atol=1e-6 * 1e-3)


def test_one_cluster_above_the_critical_temperature_and_two_below():
    x, rng = points(0)
    T = critical_temperature(x, 0.7)
    push = 1e-2 * rng.normal(size=(2, 3))
    above, _ = settle(x, x.mean(0) + push, 0.7, 1.02 * T, tol=1e-10, most=5000)
    below, _ = settle(x, x.mean(0) + push, 0.7, 0.98 * T, tol=1e-10, most=5000)
    assert abs(above[0] - above[1]).max() < 1e-5 < 0.05 < abs(below[0] - below[1]).max()
    v = np.linalg.eigh(np.cov(x.T, bias=True))[1][:, -1]
    assert abs((below[0] - below[1]) @ v) > 0.99 * np.linalg.norm(below[0] - below[1])


def test_critical_temperature_of_one_column_is_the_variance_ratio():
    assert np.isclose(critical_temperature(np.array([[0.0], [0.0], [3.0]]), 0.5), 2 / 0.25)


def test_published_eigenvalue_and_the_irises():
    x, species = iris()
    assert round(critical_temperature(x, 1.0) * 150 / 149, 3) == 4.228  # R's prcomp divides by n - 1
    level = lambda means: log_evidence(cluster_log_joint(x, means, 0.4)).sum()
    path = anneal(x, 3, 0.4, np.geomspace(32, 1, 16), np.random.default_rng(3))
    assert path.shape == (16, 3, 4) and abs(path[0] - path[0].mean(0)).max() < 0.01
    assert np.isclose(level(settle(x, path[-1], 0.4)[0]), -408.77, atol=0.01)
    z = cluster_log_joint(x, path[-1], 0.4).argmax(1)
    assert sum(np.bincount(z[species == s]).max() for s in np.unique(species)) == 133
    # a start with two means among the setosas stays in the worse optimum
    assert level(settle(x, x[[0, 1, 100]], 0.4)[0]) < -600
    # five clusters: the annealed solution isn't the best known
    five = settle(x, anneal(x, 5, 0.4, np.geomspace(32, 1, 16), np.random.default_rng(0))[-1], 0.4)[0]
    rng = np.random.default_rng(5)
    luck = max(level(settle(x, x[rng.choice(150, 5, replace=False)], 0.4, most=400)[0]) for _ in range(12))
    assert luck > level(five) + 1


def test_settle_counts_and_stops():
    x, _ = points(1)
    means, steps = settle(x, x[:2], 0.7, tol=1e-8, most=3)
    assert steps == 3
    done, _ = settle(x, x[:2], 0.7, tol=1e-10)
    assert settle(x, done, 0.7, tol=1e-8)[1] == 1
    assert kl(tempered_posterior([0.0, -1.0], 2.0), posterior([0.0, -0.5])) < 1e-15


def test_hot_enough_every_start_ends_at_the_centre():
    x, _ = iris()
    rng = np.random.default_rng(1)
    for k in (2, 3, 6):
        for _ in range(5):
            means, _ = settle(x, x[rng.choice(150, k, replace=False)], 0.4, 32.0)
            assert abs(means - x.mean(0)).max() < 1e-4


def test_from_the_centre_without_cooling_three_clusters_are_found_as_well():
    x, _ = iris()
    rng = np.random.default_rng(2)
    for _ in range(10):
        means, steps = settle(x, x.mean(0) + 0.004 * rng.standard_normal((3, 4)), 0.4)
        assert np.isclose(log_evidence(cluster_log_joint(x, means, 0.4)).sum(), -408.77, atol=0.01) and steps < 100


def test_a_branch_splits_at_the_eigenvalue_of_its_own_covariance():
    x, species = iris()
    assert np.isclose(critical_temperature(x[species != "setosa"], 0.4), 7.31, atol=0.01)
    assert np.isclose(critical_temperature(x[species == "setosa"], 0.4), 1.45, atol=0.01)
    setosa = x[species == "setosa"].mean(0)
    rest = x[species != "setosa"].mean(0) + 0.004 * np.random.default_rng(3).standard_normal((2, 4))
    for T, parted in ((7.8, False), (6.8, True)):
        means, _ = settle(x, np.vstack([setosa, rest]), 0.4, T, tol=1e-8, most=5000)
        assert (np.linalg.norm(means[1] - means[2]) > 0.1) == parted


def test_with_fixed_weights_heat_is_a_larger_spread_and_the_likelihood_may_fall():
    x, _ = iris()
    good, _ = settle(x, x[[0, 60, 120]], 0.4)
    np.testing.assert_allclose(annealed_step(x, good, 0.4, 5.0), annealed_step(x, good, 0.4 * np.sqrt(5.0)), rtol=1e-10)
    level = lambda means: log_evidence(cluster_log_joint(x, means, 0.4)).sum()
    assert level(annealed_step(x, good, 0.4, 5.0)) < level(good) - 5
