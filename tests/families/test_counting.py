"""Counts of any size, symbols of any name, zeros that are structure, priors that say nothing."""
import numpy as np
import pytest
from em_notes import settings
from em_notes.families.base import Natural, Tiled, form, prepared, read
from em_notes.book.exponential_families import deviance
from em_notes.families.counting import Bernoulli, Categorical, Poisson, saturated
from em_notes.families.exponential import Exponential
from em_notes.families.priors import BetaPrior, DirichletPrior, GammaPrior, weak
from em_notes.protocol import Degenerate
from scipy import stats as known

from families.random_families import climb


@pytest.mark.parametrize("x, r", [(0, 0.5), (1, 0.5), (1, 1.0), (2, 1e-9), (5, 5.5), (1e6, 1e6 + 300), (1e9, 1e9 + 1), (1e12, 1e12 - 3e6), (1e15, 1e15 + 1e8), (1e15, 2e15), (7, 1e15)])
def test_the_deviance_keeps_its_digits(x, r):
    "Right to 1e-12 relative for counts up to 1e15, by 50 digits."
    from decimal import Decimal, localcontext
    with localcontext() as c:
        c.prec = 50
        a, b = Decimal(x), Decimal(r)
        want = (a * (a / b).ln() if x else Decimal(0)) - a + b
        assert abs(Decimal(float(deviance(x, r))) - want) <= Decimal("1e-14") * want + Decimal("1e-300")


@pytest.mark.parametrize("rate", [1e-3, 0.7, 5.0, 40.0, 1e3, 1e5])
def test_densities_sum_to_one_and_are_scipys(rate):
    x = np.arange(max(0, int(rate - 12 * rate ** 0.5 - 10)), int(rate + 12 * rate ** 0.5 + 40)).astype(float)
    p = Poisson([rate])
    assert np.isclose(np.exp(p.log_prob(x)).sum(), 1, rtol=1e-11)
    np.testing.assert_allclose(p.log_prob(x)[:, 0], known.poisson(rate).logpmf(x), rtol=1e-8)
    assert np.isclose(saturated(1e15), -0.5 * np.log(2 * np.pi * 1e15) - 1 / 12e15, rtol=1e-15)


@pytest.mark.parametrize("rate", [1e5, 1e7, 1e10, 1e12, 1e14, 1e15])
def test_large_counts_never_fall_and_a_wrong_step_is_seen(rate):
    "Rounding explains what is left; an M-step off by a thousandth of a standard deviation is far more."
    for seed in range(2):
        rng = np.random.default_rng(seed)
        x = rng.poisson(np.array([rate, rate + 3 * rate ** .5])[rng.integers(2, size=2000)]).astype(float)
        start = Poisson([rate + 0.5 * rate ** .5, rate + 2.5 * rate ** .5])
        family, log_weights, bounds, worst = climb(start, x, 80)
        assert worst < 1
        wrong = family.changed(family.rates + 1e-3 * family.rates ** .5)
        f = form(wrong, prepared(wrong, x), log_weights)
        assert bounds[-1] - f.em_pass()[2] > 1e-4 > 1000 * len(x) * f.rounding


@pytest.mark.parametrize("rates, kind", [([3.0, 8.0], Natural), ([1e9, 1e9 + 1e5], Natural), ([3.0, 1e9], Tiled), ([1.0, 1e15], Tiled)])
def test_responsibilities_of_large_counts(rates, kind):
    "They were off by 7e-8 at 1e8 and by 0.17 at 1e14."
    from decimal import Decimal, localcontext
    rng = np.random.default_rng(1)
    p = Poisson(rates)
    x = rng.poisson(np.repeat(rates, 20)).astype(float)
    f = form(p, p.prepare(x))
    assert isinstance(f, kind)
    with localcontext() as c:
        c.prec = 50
        want = [float(Decimal(v) * (Decimal(rates[0]) / Decimal(rates[1])).ln() - Decimal(rates[0]) + Decimal(rates[1])) for v in x]
    l = f.log_joints()
    np.testing.assert_allclose(l[:, 0] - l[:, 1], want, rtol=1e-11, atol=1e-11)


def test_large_counts_with_gaps():
    "Rates too far apart for the linear form, entries missing: what is there is taken row by row."
    rng = np.random.default_rng(6)
    p = Poisson([[3.0, 1e9], [1e9, 5.0]])
    x = p.sample(rng.integers(2, size=40), rng)
    gone = rng.uniform(size=x.shape) < 0.3
    f = form(p, p.prepare(np.where(gone, np.nan, x), missing="nan"), np.log([0.5, 0.5]))
    assert isinstance(f, Tiled)
    each = saturated(x)[:, None] - deviance(x[:, None], p.rates)
    np.testing.assert_allclose(f.log_joints(), np.log(0.5) + np.where(gone[:, None], 0, each).sum(2), rtol=1e-13)
    counts, stats, bound = f.em_pass()
    entropy = gone.all(1).sum() * np.log(2)  # the label is certain but for rows with nothing in them
    assert gone.all(1).any() and np.isclose(p.expected_loglik(stats) + counts @ np.log([0.5, 0.5]) + entropy, bound, rtol=1e-9)
    np.testing.assert_allclose(p.maximize(stats).rates, stats.total / stats.count)


def test_impossible_rows_of_small_weight():
    "Accepted silently when their weight was below 0.1."
    c = Categorical([[.5, .5, 0], [1., 0, 0]])
    p = Poisson([[0.0], [0.0]])
    for kernels in ("numpy", "numba"):
        with settings.backend(kernels):
            for weight in (1.0, 0.05, 1e-9, 1e-90):
                assert form(c, c.prepare([0, 1, 2], [1, 1, weight]), np.log([.5, .5])).em_pass()[2] == -np.inf
                assert form(p, p.prepare([0, 0, 3], [1, 1, weight]), np.log([.5, .5])).em_pass()[2] == -np.inf
            assert np.isfinite(form(c, c.prepare([0, 1, 2], [1, 1, 0]), np.log([.5, .5])).em_pass()[2])
            b, top, _ = form(c, c.prepare([0, 2])).likelihoods()
            assert list(b[1]) == [0, 0] and top[1] == 0
    assert c.log_prob([2]).max() == -np.inf and p.log_prob([3]).max() == -np.inf and p.log_prob([0]).max() == 0


def test_a_rate_of_zero():
    "A count of zero stays certain beside rates of any size; the zero has no coordinate and stays under a prior."
    p = Poisson([[0.0, 2e6], [3.0, 1e6]])
    x = np.array([[0.0, 2e6], [2.0, 1e6], [0.0, 1e6]])
    np.testing.assert_allclose(p.log_prob(x), known.poisson(p.rates).logpmf(x[:, None]).sum(2), rtol=1e-7)
    assert len(p.to_vector()) == 3 == p.n_parameters
    np.testing.assert_allclose(p.from_vector(p.to_vector()).rates, p.rates)
    prior = GammaPrior(2.0, 0.1)
    new = p.maximize(p.stats(x, np.array([[1.0, 0], [0, 1], [0.5, 0.5]])), prior)
    assert new.rates[0, 0] == 0 and (new.rates.ravel()[1:] > 0).all() and np.isfinite(new.log_prior(prior))
    assert new.n_parameters == 3


@pytest.mark.parametrize("make, prior", [
    (lambda: Categorical([[.5, .5, 0, 0], [.1, .2, .3, .4]]), DirichletPrior(1.5)), (lambda: Bernoulli([[0., .5, 1.], [.2, .3, .4]]), BetaPrior(2.0, 3.0)),
    (lambda: Poisson([[0., 2.], [1., 3.]]), GammaPrior(2.0, 0.5))])
def test_map_from_a_start_with_zeros_rises(make, prior):
    "The prior density was 0 at a zero of the start, and the data were blamed. Coordinates of fixed length."
    family, rng = make(), np.random.default_rng(2)
    x = family.sample(rng.integers(2, size=200), rng)
    new, _, bounds, worst = climb(family, x, 30, prior)
    assert np.isfinite(bounds).all() and worst < 1 and bounds[-1] > bounds[0]
    np.testing.assert_array_equal(new.table == 0, family.table == 0)
    v = new.to_vector()
    assert len(v) == len(family.to_vector()) == family.n_parameters == new.n_parameters and np.isfinite(v).all()
    np.testing.assert_allclose(new.from_vector(v).table, new.table, rtol=1e-12)


def test_a_zero_that_a_fit_reached_is_still_counted():
    "The number of parameters depended on tol."
    c = Categorical([[.4, .3, .3], [.3, .3, .4]])
    new = c.maximize(c.stats([0, 1, 2], np.array([[1.0, 0], [1, 0], [0, 1]])))
    assert (new.probs == 0).sum() == 3 and new.n_parameters == c.n_parameters == 4 and len(new.to_vector()) == 1
    assert Categorical(new.probs).n_parameters == 1  # zeros that the caller sets are structure
    b = Bernoulli([[.5, .5]])
    assert b.maximize(b.stats([[1, 0], [1, 1]], np.ones((2, 1)))).n_parameters == 2


def test_alpha_of_one_is_no_prior():
    "alpha = 1 is no prior."
    flat, rng = DirichletPrior(1.0), np.random.default_rng(3)
    c = Categorical(rng.dirichlet(np.ones(4), 2))
    s = c.stats(rng.integers(4, size=30), rng.dirichlet(np.ones(2), 30))
    np.testing.assert_allclose(c.maximize(s, flat).probs, c.maximize(s).probs, rtol=1e-14)
    rows = np.array([[0.0, 0, 0], [1, 2, 1]])
    old = np.array([[.2, .5, .3], [.3, .3, .4]])
    np.testing.assert_allclose(flat.mode(rows, old), [[.2, .5, .3], [.25, .5, .25]])
    with pytest.raises(Degenerate, match="use alpha > 1"): flat.mode(rows)
    b = Bernoulli([[.3, .6], [.5, .5]])
    t = b.stats([[0, 1], [1, 1], [0, 1]], np.array([[1.0, 0], [0, 1], [1, 0]]))
    np.testing.assert_allclose(b.maximize(t, BetaPrior(1.0, 1.0)).probs, b.maximize(t).probs)
    e = Exponential([1.0, 2.0])
    u = e.stats([1.0, 2.0, 3.0], rng.dirichlet(np.ones(2), 3))
    np.testing.assert_allclose(e.maximize(u, GammaPrior(1.0, 1e-12)).rates, e.maximize(u).rates, rtol=1e-9)


@pytest.mark.parametrize("x, message", [
    (["a", "b", "a"], "got text; code the symbols"), (list("abab"), "got text; code the symbols"), (np.array(["x", 1], dtype=object), "code the symbols"), ([0, 1.5], r"x\[1, 0\] is 1.5; code the symbols"),
    ([0, -1], r"x\[1, 0\] is -1"), ([0, np.inf], "must be finite"), ([0, 10 ** 400], "must hold real numbers"), ([0, 10 ** 12], "up to some thousands, but"),
    ([4624, 4625, 10 ** 6], "different symbols, 3, but the largest is 1000000; code the symbols"), ([0, 10 ** 10], "code the symbols"), ([], "at least one row"), ([0, 1 + 1j], "real numbers")])
def test_symbols_are_looked_at_before_they_are_counted(x, message):
    "Ids took 15 s or all memory; text was to be turned to float; inf was an OverflowError."
    with pytest.raises(ValueError, match=message):
        data = read(Categorical, x)
        Categorical.start(data, np.ones((len(data), 1)))


def test_symbols_that_no_row_shows_and_rows_without_a_symbol():
    start = Categorical.start(read(Categorical, [0, 2, None, 2], missing="nan"), np.eye(2)[[0, 1, 0, 1]], v=5)
    assert start.v == 5 and (start.probs > 0).all()
    with pytest.raises(ValueError, match="symbols 0 to 4 like the model, but x.0, 0. is 7"): start.prepare([7])
    assert Categorical.start(read(Categorical, np.ma.array([0, 9], mask=[False, True])), np.ones((2, 1))).v == 1
    wide = Categorical.start(read(Categorical, np.arange(300) % 100), np.eye(3)[np.arange(300) % 3])
    assert Categorical.seeds_space(read(Categorical, np.arange(300) % 100)).shape == (300, 32) and wide.v == 100


@pytest.mark.parametrize("family, probs", [(Categorical, np.random.default_rng(4).dirichlet(np.ones(7), 3)), (Bernoulli, np.random.default_rng(4).uniform(size=(3, 4)))])
def test_float32_and_eight_digits(family, probs):
    "Refused; what is off by rounding of its own type is divided out."
    for rounded in (probs.astype(np.float32), np.round(probs, 8)):
        own = family(rounded)
        np.testing.assert_allclose(own.table, probs, atol=1e-6)
        if family is Categorical: np.testing.assert_allclose(own.probs.sum(1), 1, rtol=1e-15)


@pytest.mark.parametrize("make, message", [
    (lambda: Poisson([-1.0]), "rates must not be negative"), (lambda: Poisson([[np.nan]]), "rates must be finite"), (lambda: Poisson(np.ones((1, 1, 1))), "rates must have shape"), (lambda: Poisson("banana"), "rates must be real numbers"),
    (lambda: Bernoulli([[1.5]]), r"probs must lie in \[0, 1\]"), (lambda: Categorical([[0.5, 0.5], [0.5, 0.4]]), "probs row 1 sums to 0.9"), (lambda: Categorical([0.5, 0.5]), r"probs must have shape \(k, v\)"), (lambda: Categorical(np.zeros((2, 0))), "probs"),
    (lambda: Exponential([0.0]), "rates must be positive"), (lambda: Poisson([1.0]).prepare([1, 1.5]), r"x\[1, 0\] is 1.5"), (lambda: Poisson([1.0]).prepare([1, -1]), r"x\[1, 0\] is -1"),
    (lambda: Bernoulli([0.5]).prepare([0, 2]), "x must hold 0 and 1"), (lambda: Exponential([1.0]).prepare([-1.0]), "waiting times >= 0"), (lambda: Poisson([[1.0, 2.0]]).log_prob([[1, 2, 3]]), "x must have 2 columns like the model"),
    (lambda: GammaPrior(-3.0, 1.0), "shape of GammaPrior must be positive, got -3"), (lambda: BetaPrior(1.0, 0.0), "b of BetaPrior"), (lambda: DirichletPrior([1.0, -1.0]), "alpha of DirichletPrior"), (lambda: DirichletPrior("a"), "alpha of DirichletPrior"),
    (lambda: Poisson([1.0]).log_prior(GammaPrior([1.0, 2.0], 1.0)), "shape of GammaPrior must be a number, or have shape"), (lambda: Categorical([[0.5, 0.5]]).log_prior(DirichletPrior([1.0, 2.0, 3.0])), "alpha of DirichletPrior must be a number, or have shape")])
def test_wrong_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message): make()


def test_a_posterior_without_a_mode_says_so():
    b = Bernoulli([[0.5]])
    with pytest.raises(Degenerate, match="a - 1 . count must not be negative"): b.maximize(b.stats([[0.0], [1.0]], [[0.3], [0.2]]), BetaPrior(0.3, 0.3))
    p = Poisson([1.0])
    with pytest.raises(Degenerate, match="use shape >= 1"): p.maximize(p.stats([[0.0]], [[1.0]]), GammaPrior(0.5, 1.0))
    with pytest.raises(Degenerate, match="component 1 is empty.*prior='weak'"): Poisson([1.0, 2.0]).maximize(Poisson([1.0, 2.0]).stats([[1.0]], [[1.0, 0.0]]))


def test_a_weak_prior_holds_zeros_and_ones_up():
    "Half exact zeros, a stuck sensor."
    x = np.repeat([[0.0, 0.0], [0.0, 3.0]], 30, axis=0)
    for cls, rows in ((Poisson, x), (Bernoulli, np.minimum(x, 1)), (Exponential, x), (Categorical, x[:, 1:])):
        data = read(cls, rows)
        prior = weak(cls, data, 2)
        start = cls.start(data, np.eye(2)[np.repeat([0, 1], 30)], prior=prior)
        new, _, bounds, worst = climb(start, data, 40, prior)
        assert worst < 1 and np.isfinite(bounds).all() and (new.table > 0).all()
    with pytest.raises(Degenerate, match="waiting times in column 0 are zero.*prior='weak'"): climb(Exponential([[1.0, 1.0]]), x, 3)
