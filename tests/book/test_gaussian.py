"The functions of the chapter on Gaussians against scipy, extended precision, hand values and each other."
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy import stats as sps

from em_notes.book import gaussian as g

TYPES = ["full", "tied", "diag", "tied_diag", "spherical", "tied_spherical"]
many = settings(max_examples=40, deadline=None)
sizes = dict(k=st.integers(1, 4), d=st.integers(1, 5), seed=st.integers(0, 10**6))


def components(k, d, rng):
    a = rng.normal(size=(k, d, d))
    return rng.normal(size=(k, d)), a @ np.swapaxes(a, 1, 2) / d + 0.2 * np.eye(d)


def close(a, b, rtol=1e-10, atol=1e-12):
    for u, v in zip(a, b, strict=True): np.testing.assert_allclose(u, v, rtol=rtol, atol=atol)


@many
@given(**sizes)
def test_density_is_scipys(k, d, seed):
    rng = np.random.default_rng(seed)
    means, covs = components(k, d, rng)
    x = 3 * rng.normal(size=(7, d))
    ours = g.gaussian_log_prob(x, means, covs)
    close(ours.T, [np.atleast_1d(sps.multivariate_normal.logpdf(x, m, c)) for m, c in zip(means, covs)], rtol=1e-9)
    center, scale = rng.normal(size=d), rng.uniform(0.5, 2, d)
    natural = g.features((x - center) / scale) @ g.natural_parameters(means, covs, center, scale).T
    np.testing.assert_allclose(natural, ours, rtol=1e-8, atol=1e-8)
    y, half = g.whiten(x, means[0], covs[0])
    np.testing.assert_allclose(-0.5 * (y**2).sum(1) - half - d / 2 * np.log(2 * np.pi), ours[:, 0], rtol=1e-12)


@many
@given(**sizes, offset=st.sampled_from([0.0, 1e3, 1e7]))
def test_moments_by_their_definition(k, d, seed, offset):
    rng = np.random.default_rng(seed)
    x, r = rng.normal(size=(12, d)) + offset, rng.dirichlet(np.ones(k), 12)
    long, rl = x.astype(np.longdouble), r.astype(np.longdouble)
    mean = rl.T @ long / rl.sum(0)[:, None]
    scatter = np.array([(w[:, None] * (long - m)).T @ (long - m) for w, m in zip(rl.T, mean)])
    near = dict(rtol=1e-9 * max(1, offset / 1e3), atol=1e-9 * max(1, offset / 1e3))
    whole = g.weighted_moments(x, r)
    close(whole, (r.sum(0), mean, scatter), **near)
    parts = [g.weighted_moments(x[a:a + 4], r[a:a + 4]) for a in (0, 4, 8)]
    close(g.merge_moments(g.merge_moments(*parts[:2]), parts[2]), whole, **near)
    close(g.merge_moments(parts[2], g.merge_moments(parts[1], parts[0])), whole, **near)
    center, scale = x.mean(0), x.std(0)
    close(g.moments_from_sums(r.T @ g.features((x - center) / scale), center, scale), whole, rtol=1e-8, atol=1e-8 * max(1, offset / 1e3))
    means, covs = components(k, d, rng)
    close(g.whitened_moments(x, r, means + offset, covs), whole, rtol=1e-8, atol=1e-7 * max(1, offset / 1e3))


def test_moments_of_nothing_and_of_unseen_components():
    x, r = np.arange(6.0).reshape(3, 2) + 5, np.array([[1.0, 0], [1, 0], [1, 0]])
    count, mean, scatter = g.weighted_moments(x, r)
    assert count.tolist() == [3, 0] and mean[1].tolist() == [0, 0] and not scatter[1].any()
    close(g.merge_moments((count, mean, scatter), (0 * count, mean + 1, 0 * scatter)), (count, mean, scatter)) # 0 / 0 is no nan


@many
@given(**sizes)
def test_expected_log_prob_is_the_weighted_sum_and_kl_what_is_lost(k, d, seed):
    rng = np.random.default_rng(seed)
    x, r = rng.normal(size=(3 * d + 5, d)), rng.dirichlet(np.ones(k), 3 * d + 5)
    means, covs = components(k, d, rng)
    moments = g.weighted_moments(x, r)
    value = g.gaussian_expected_log_prob(*moments, means, covs)
    np.testing.assert_allclose(value, (r * g.gaussian_log_prob(x, means, covs)).sum(), rtol=1e-10)
    best = g.shape_covs(moments[0], moments[2])
    lost = moments[0] @ [g.gaussian_kl(*p) for p in zip(moments[1], best, means, covs)]
    top = g.gaussian_expected_log_prob(*moments, moments[1], best)
    np.testing.assert_allclose(top - value, lost, rtol=1e-7, atol=1e-9 * abs(value))


def test_kl_of_two_in_one_dimension():
    # log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2
    value = g.gaussian_kl(np.array([1.0]), np.array([[4.0]]), np.array([3.0]), np.array([[9.0]]))
    assert abs(value - (np.log(3 / 2) + (4 + 4) / 18 - 0.5)) < 1e-14


@pytest.mark.parametrize("covariance", TYPES)
def test_shapes_by_their_definition(covariance):
    count, scatter = np.array([2.0, 6.0]), np.array([[[4.0, 1], [1, 2]], [[12, -3], [-3, 6]]])
    wanted = {"full": [[[2, 0.5], [0.5, 1]], [[2, -0.5], [-0.5, 1]]], "tied": [[[2, -0.25], [-0.25, 1]]] * 2,
              "diag": [[[2, 0], [0, 1]]] * 2, "tied_diag": [[[2, 0], [0, 1]]] * 2,
              "spherical": [1.5 * np.eye(2)] * 2, "tied_spherical": [1.5 * np.eye(2)] * 2}
    close(g.shape_covs(count, scatter, covariance), wanted[covariance])


@pytest.mark.parametrize("kappa", [0.0, 0.7])
@pytest.mark.parametrize("covariance", TYPES)
def test_mode_of_the_posterior_beats_its_neighbours(covariance, kappa):
    rng = np.random.default_rng(3)
    moments = g.weighted_moments(rng.normal(size=(9, 2)), rng.dirichlet([1, 1, 1], 9))
    m0, psi, df = np.array([0.3, -0.2]), np.array([[1.0, 0.3], [0.3, 0.8]]), 4.5
    tied, shape = covariance.startswith("tied"), covariance.removeprefix("tied").strip("_") or "full"

    def height(means, covs):
        total = g.gaussian_expected_log_prob(*moments, means, covs)
        if kappa: total += sum(sps.multivariate_normal.logpdf(m, m0, c / kappa) for m, c in zip(means, covs))
        for c in covs[:1] if tied else covs:
            if shape == "full": total += sps.invwishart.logpdf(c, df=df, scale=psi)
            else: total += sum(sps.invgamma.logpdf(c[a, a], df / 2, scale=psi[a, a] / 2) for a in range(1 if shape == "spherical" else 2))
        return total

    means, covs = g.niw_mode(*moments, m0, kappa, psi, df, covariance)
    top = height(means, covs)
    for factor in (0.99, 1.01): # a wrong power of the determinant shows
        assert height(means, factor * covs) < top
    for _ in range(30):
        assert height(means + 1e-3 * rng.normal(size=means.shape), covs) < top


@many
@given(d=st.integers(1, 5), seed=st.integers(0, 10**6), data=st.data())
def test_marginal_times_conditional_is_the_joint(d, seed, data):
    rng = np.random.default_rng(seed)
    means, covs = components(1, d, rng)
    x = rng.normal(size=d)
    seen = data.draw(st.permutations(range(d)))[:data.draw(st.integers(0, d))]
    others = [a for a in range(d) if a not in seen]
    total = 0.0
    if seen: total += sps.multivariate_normal.logpdf(x[seen], *g.marginal(means[0], covs[0], seen))
    mean, cov = g.conditional(means[0], covs[0], seen, x[seen])
    assert mean.shape == (len(others),) and cov.shape == (len(others),) * 2
    if others: total += sps.multivariate_normal.logpdf(x[others], mean, cov)
    np.testing.assert_allclose(total, sps.multivariate_normal.logpdf(x, means[0], covs[0]), rtol=1e-9, atol=1e-9)


def test_conditional_by_hand():
    mean, cov = g.conditional(np.array([1.0, 2.0]), np.array([[4.0, 2.0], [2.0, 9.0]]), [0], [3.0])
    assert mean.tolist() == [3.0] and cov.tolist() == [[8.0]] # 2 + 2/4 (3 - 1), 9 - 2 * 2/4


@many
@given(d=st.integers(1, 5), seed=st.integers(0, 10**6))
def test_free_coordinates_go_there_and_back(d, seed):
    rng = np.random.default_rng(seed)
    v = rng.normal(size=d * (d + 1) // 2)
    np.testing.assert_allclose(g.log_cholesky(g.from_log_cholesky(v, d)), v, rtol=1e-8, atol=1e-8)


def test_prior_density_and_slope_of_the_log_partition():
    rng = np.random.default_rng(0)
    (m0, mean), (psi, cov) = components(2, 3, rng)
    ours = g.niw_log_prob(mean, cov, m0, 0.3, psi, 4.2)
    wanted = sps.invwishart.logpdf(cov, df=4.2, scale=psi) + sps.multivariate_normal.logpdf(mean, m0, cov / 0.3)
    assert abs(ours - wanted) < 1e-10 * abs(wanted)
    eta1, eta2 = np.linalg.solve(cov, mean), -0.5 * np.linalg.inv(cov)
    for e in np.eye(3): # the slope along eta1 is the mean
        by_difference = (g.log_partition(eta1 + 1e-6 * e, eta2) - g.log_partition(eta1 - 1e-6 * e, eta2)) / 2e-6
        assert abs(by_difference - e @ mean) < 1e-7


def test_samples_have_the_moments_of_their_components():
    rng = np.random.default_rng(1)
    means, covs = components(2, 2, rng)
    x = g.gaussian_sample(np.repeat([0, 1], 40_000), means, covs, rng)
    for part, m, c in zip((x[:40_000], x[40_000:]), means, covs):
        assert (np.abs(part.mean(0) - m) < 5 * np.sqrt(np.diag(c) / 40_000)).all()
        assert np.abs(np.cov(part.T) - c).max() < 5 * np.sqrt(2 / 40_000) * np.trace(c)


@many
@given(d=st.integers(1, 5), seed=st.integers(0, 10**6), r=st.floats(0.1, 4))
def test_axes_and_mass_of_an_ellipse(d, seed, r):
    cov = components(1, d, np.random.default_rng(seed))[1][0]
    half, directions = g.ellipse_axes(cov, r)
    for ends in (half * directions, -half * directions):
        np.testing.assert_allclose(np.linalg.norm(g.whiten(ends.T, np.zeros(d), cov)[0], axis=1), r, rtol=1e-8)
    np.testing.assert_allclose(np.prod(half / r), np.sqrt(np.linalg.det(cov)), rtol=1e-8)
    np.testing.assert_allclose(g.mass_within(r, d), sps.chi2.cdf(r * r, d), rtol=1e-10)


def test_mass_in_one_and_two_dimensions():
    np.testing.assert_allclose(g.mass_within([1, 2, 3], 1), [0.682689, 0.954500, 0.997300], atol=1e-6)
    np.testing.assert_allclose(g.mass_within([1, 2, 3], 2), 1 - np.exp([-0.5, -2, -4.5]), rtol=1e-12)


@pytest.mark.parametrize("n, sd", [(2_000, 1.0), (20_000, 0.1), (20_000, 1 / 60), (300_000, 1 / 20)])
def test_the_fast_form_errs_by_the_square_of_what_cancels(n, sd):
    "Twenty points in a tight cluster 300 away from n others: the whitened mean counts, not the spread alone."
    rng = np.random.default_rng(0)
    means, covs = np.array([[0.0, 0.0], [300.0, 0.0]]), np.array([np.eye(2), sd**2 * np.eye(2)])
    few = g.gaussian_sample(np.ones(20, int), means, covs, rng)
    x = np.concatenate([g.gaussian_sample(np.zeros(n, int), means, covs, rng), few])
    center, scale = x.mean(0), x.std(0)
    own = np.concatenate([np.zeros(n), np.ones(20)])[:, None] == [0, 1]
    eta, phi = g.natural_parameters(means, covs, center, scale), g.features((x - center) / scale)
    u = (few.astype(np.longdouble) - means[1]) / sd
    true = -0.5 * (u**2).sum(1) - 2 * np.log(np.longdouble(sd)) - np.log(2 * np.longdouble(np.pi))
    bound = 10 * np.finfo(float).eps * g.largest_cancelling(means, covs, center, scale) ** 2
    assert np.abs(phi[-20:] @ eta[1] - true).max() < bound
    count, _, scatter = g.moments_from_sums(own.T @ phi, center, scale)
    v = few.astype(np.longdouble) - few.astype(np.longdouble).mean(0)
    assert np.abs(scatter[1] - v.T @ v).max() < bound * np.abs(v.T @ v).max()
    whitened = g.whitened_moments(x, own.astype(float), means, covs)[2][1]
    assert np.abs(whitened - v.T @ v).max() < 1e-12 * np.abs(v.T @ v).max()


def test_too_few_points_have_a_singular_scatter_and_a_prior_holds_it():
    x = np.random.default_rng(0).normal(size=(6, 4))
    for n in range(1, 7):
        count, mean, scatter = g.weighted_moments(x[:n], np.ones((n, 1)))
        assert np.linalg.matrix_rank(scatter[0], tol=1e-10) == min(4, n - 1)
        cov = g.niw_mode(count, mean, scatter, np.zeros(4), 0.1, np.eye(4), 6.0)[1][0]
        assert np.linalg.eigvalsh(cov)[0] >= (1 - 1e-9) / (n + 6 + 4 + 2)


def test_weighted_moments_by_hand():
    count, mean, scatter = g.weighted_moments(np.array([[1.0], [2], [6]]), np.array([[1.0], [1], [0.5]]))
    np.testing.assert_allclose([count[0], mean[0, 0], scatter[0, 0, 0]], [2.5, 2.4, 8.6], rtol=1e-14)


@many
@given(d=st.integers(1, 4), seed=st.integers(0, 10**6), n=st.floats(0.5, 50))
def test_posterior_is_of_the_priors_kind(d, seed, n):
    "Prior times likelihood over the merged normal-inverse-Wishart is the same number everywhere."
    rng = np.random.default_rng(seed)
    (m0, m), (psi, scatter) = components(2, d, rng)
    count, mean, S = g.merge_moments((np.array([n]), m[None], scatter[None]), (np.array([0.3]), m0[None], psi[None]))
    ratio = [g.niw_log_prob(mu, c, m0, 0.3, psi, d + 2.0) - g.niw_log_prob(mu, c, mean[0], count[0], S[0], n + d + 2)
             + g.gaussian_expected_log_prob(np.array([n]), m[None], scatter[None], mu[None], c[None]) for mu, c in zip(*components(2, d, rng))]
    np.testing.assert_allclose(ratio[0], ratio[1], rtol=1e-8, atol=1e-8)
