"""What holds for every family: its densities, its forms, its M-step, its coordinates, with and without missing entries."""
import copy
import pickle
import tracemalloc

import numpy as np
import pytest
from em_notes import settings
from em_notes.families.base import form, read, weighted_stats
from em_notes.families.priors import weak
from em_notes.protocol import leaves
from scipy import stats as known
from scipy.special import logsumexp

from families.random_families import GAUSSIANS, KINDS, climb, interior_prior, random_family, responsibilities

LOG_WEIGHTS = np.log([0.3, 0.7])


def one_by_one(family, x):
    "The log-probability of every entry (n, k, d), from scipy; None where columns depend on each other."
    name = type(family).__name__
    if name == "Poisson": return known.poisson(family.rates).logpmf(x[:, None])
    if name == "Bernoulli": return known.bernoulli(family.probs).logpmf(x[:, None])
    if name == "Exponential": return known.expon(scale=1 / family.rates).logpdf(x[:, None])
    if name == "Categorical": return np.log(family.probs[:, x[:, 0].astype(int)]).T[:, :, None]
    if name == "Gaussian" and not family.type.full: return known.norm(family.means, np.sqrt(np.diagonal(family.full_covs(), axis1=1, axis2=2))).logpdf(x[:, None])


def example(kind, gaps, n=60, seed=0):
    "A family, rows, which are missing, weights, prepared data."
    rng = np.random.default_rng(seed)
    family = random_family(kind, 2, rng)
    x, weights = family.sample(rng.integers(2, size=n), rng), rng.uniform(size=n)
    gone = (rng.uniform(size=x.shape) < 0.3) & gaps
    if gaps: gone[0] = True
    data = family.prepare(np.where(gone, np.nan, x), weights, missing="nan" if gaps else "error")
    return family, x, gone, weights, data


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_form_is_its_log_joints(kind, gaps):
    "One pass gives the bound and the statistics of the responsibilities; both kernels alike; the weights' scale is a factor."
    family, x, gone, w, data = example(kind, gaps)
    each = one_by_one(family, x)
    if each is not None: np.testing.assert_allclose(family.log_prob(data), np.where(gone[:, None], 0, each).sum(2), rtol=1e-9, atol=1e-12)
    l = family.log_prob(data) + LOG_WEIGHTS
    resp = responsibilities(l)
    want = weighted_stats(family, data, resp)
    for kernels in ("numpy", "numba"):
        with settings.backend(kernels):
            f = form(family, data, LOG_WEIGHTS)
            counts, stats, bound = f.em_pass()
            np.testing.assert_allclose(f.log_joints(), l, rtol=1e-11, atol=1e-11)
            assert np.isclose(bound, w @ logsumexp(l, 1), rtol=1e-12)
            np.testing.assert_allclose(counts, w @ resp)
            for own in (stats, f.moments(resp)):
                for a, b in zip(leaves(own), leaves(want), strict=True): np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9 * np.abs(b).max())
            b, top, base = f.likelihoods()
            np.testing.assert_allclose(w @ (np.log(b.sum(1)) + top) + base, w @ logsumexp(l, 1), rtol=1e-11)
            assert np.isclose(b.max(1), 1).all()
            out = np.empty_like(b)
            np.testing.assert_array_equal(f.likelihoods(out)[0], b)
    entropy = -np.sum(w[:, None] * resp * np.log(resp)) + family.conditional_entropy(data, resp)
    assert np.isclose(bound, family.expected_loglik(stats) + counts @ LOG_WEIGHTS + entropy)  # law 1
    light = family.prepare(np.where(gone, np.nan, x), 1e-9 * w, missing="nan" if gaps else "error")
    assert np.isclose(form(family, light, LOG_WEIGHTS).em_pass()[2], 1e-9 * bound, rtol=1e-10)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_statistics_of_parts_add(kind, gaps):
    family, x, gone, w, data = example(kind, gaps)
    resp = np.random.default_rng(1).dirichlet(np.ones(2), len(x))
    again = lambda at: family.prepare(np.where(gone, np.nan, x)[at], w[at], missing="nan" if gaps else "error")
    whole, a, b = family.stats(data, resp), *(family.stats(again(at), resp[at]) for at in (slice(0, 25), slice(25, None)))
    for u, v in zip(leaves(a + b), leaves(whole), strict=True): np.testing.assert_allclose(u, v, rtol=1e-10, atol=1e-10)
    for u, v in zip(leaves(0.25 * whole + 0.75 * whole), leaves(whole), strict=True): np.testing.assert_allclose(u, v, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("with_prior", [False, True, "weak"])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_m_step_is_a_maximum(kind, gaps, with_prior):
    family, x, gone, w, data = example(kind, gaps)
    stats = family.stats(data, np.random.default_rng(1).dirichlet(np.ones(2), len(x)))
    prior = weak(family, data, 2) if with_prior == "weak" else interior_prior(kind) if with_prior else None
    new = family.maximize(stats, prior)
    objective = lambda f: f.expected_loglik(stats) + f.log_prior(prior)
    v, rng = new.to_vector(), np.random.default_rng(2)
    assert all(objective(new.from_vector(v + 1e-3 * rng.standard_normal(len(v)))) < objective(new) for _ in range(20))
    assert all(objective(new.from_vector(v + rng.standard_normal(len(v)))) < objective(new) for _ in range(20))


@pytest.mark.parametrize("kind", KINDS)
def test_coordinates_labels_copies_and_distance(kind):
    rng = np.random.default_rng(3)
    family = random_family(kind, 3, rng)
    v = family.to_vector()
    np.testing.assert_allclose(family.from_vector(v).to_vector(), v, rtol=1e-12, atol=1e-12)
    assert len(v) == family.n_parameters
    x = family.sample(rng.integers(3, size=20), rng)
    np.testing.assert_allclose(family.permute([2, 0, 1]).log_prob(x), family.log_prob(x)[:, [2, 0, 1]])
    assert family.distance(family) < 1e-14 and family.distance(family.from_vector(v + 1e-3)) < 0.1
    assert family.distance(family.from_vector(v + 1e-3 * rng.standard_normal(len(v)))) > 1e-5
    for again in (copy.deepcopy(family), pickle.loads(pickle.dumps(family)), family.from_vector(v)):
        for a in leaves(again):
            if a.ndim: assert not a.flags.writeable
        np.testing.assert_allclose(again.log_prob(x), family.log_prob(x), rtol=1e-12)
    assert repr(family).startswith(type(family).__name__ + "(")


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_is_right_and_takes_no_second_table(kind):
    "`sample` once made (n, d, d) and (n, k) temporaries."
    rng = np.random.default_rng(4)
    family = random_family(kind, 4, rng)
    z = rng.integers(4, size=40_000)
    tracemalloc.start()
    x = family.sample(z, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * x.nbytes + 5e6
    if kind not in ("categorical", "product"):
        for j in range(4): np.testing.assert_allclose(x[z == j].mean(0), family.mean[j], atol=0.1)
    np.testing.assert_array_equal(x, family.sample(z, 1))


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_filling_in(kind):
    "By conditional means, or by draws whose average they are; what is observed stays."
    family, x, gone, _, data = example(kind, True)
    resp = responsibilities(family.log_prob(data) + LOG_WEIGHTS)
    filled = family.impute(data, resp)
    np.testing.assert_array_equal(filled[~gone], x[~gone])
    draws = np.stack([family.impute(data, resp, seed) for seed in range(300)])
    np.testing.assert_array_equal(draws[:, ~gone], np.broadcast_to(x[~gone], draws[:, ~gone].shape))
    if kind not in ("categorical", "product"): assert np.abs(draws.mean(0) - filled).max() < 1.0 and np.abs(draws.mean(0) - filled).mean() < 0.1
    else: assert set(np.unique(draws[..., -1])) <= set(range(5))
    complete = family.prepare(x)
    np.testing.assert_array_equal(family.impute(complete, resp), x)


@pytest.mark.parametrize("kind", KINDS)
def test_missing_entries_tend_to_the_complete_answer(kind):
    "EM on rows of which one entry in a thousand is missing ends near EM on all; no step falls."
    rng = np.random.default_rng(5)
    family = random_family(kind, 2, rng)
    x = family.sample(rng.integers(2, size=1000), rng)
    gone = rng.uniform(size=x.shape) < 1e-3
    prior = interior_prior(kind)
    full, *_, worst = climb(family, x, 8, prior)
    some, *_, worst_some = climb(family, np.where(gone, np.nan, x), 8, prior, missing="nan")
    assert worst < 1 and worst_some < 1 and full.distance(some) < 0.1


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_start_from_clusters(kind, gaps):
    "Every class makes a family from responsibilities that EM can go on from; weights of any scale give the same; empty clusters are no harm."
    family, x, gone, w, _ = example(kind, gaps, 80)
    options = {"columns": family.columns} if kind == "product" else family.options
    cls = type(family).of(*map(type, family.parts), **options) if kind == "product" else type(family)
    data = read(cls, np.where(gone, np.nan, x), w, missing="nan" if gaps else "error")
    resp = np.eye(3)[np.arange(80) % 2]  # the third has none
    options = {} if kind == "product" else options
    start = cls.start(data, resp, **options)
    light = cls.start(read(cls, np.where(gone, np.nan, x), 1e-9 * w, missing="nan" if gaps else "error"), resp, **options)
    assert start.k == 3 and np.isfinite(start.to_vector()).all()
    np.testing.assert_allclose(light.to_vector(), start.to_vector(), rtol=1e-6, atol=1e-6)
    assert cls.seeds_space(data).shape[0] == 80 and np.isfinite(cls.seeds_space(data)).all()
    prior = weak(cls, data, 3, **options)
    assert np.isfinite(cls.start(data, resp, prior=prior, **options).log_prior(prior))
    _, _, bounds, worst = climb(cls.start(data, resp, prior=prior, **options), data, 8, prior)
    assert worst < 1 and np.isfinite(bounds).all()


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_priors_are_named(kind):
    "A prior of another family, a class, a word."
    family, x, _, _, data = example(kind, False)
    stats = family.stats(data, np.full((len(x), 2), 0.5))
    other = interior_prior("poisson" if kind in (*GAUSSIANS, "bernoulli", "categorical") else "bernoulli")
    for wrong in (other, type(other), "strong", 3.0):
        for call in (lambda: family.maximize(stats, wrong), lambda: family.log_prior(wrong)):
            with pytest.raises(ValueError, match="prior of a"): call()
