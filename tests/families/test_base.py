"""A user's own family: three methods are enough, and what is missing is said by name."""
import numpy as np
import pytest
from em_notes.families.base import Family, check_count, check_family, form, kept, prepared, read, view, weighted_stats
from em_notes.families.counting import Poisson
from em_notes.families.gaussian import Gaussian
from em_notes.families.product import Product
from em_notes.protocol import Degenerate
from scipy.special import logsumexp


class Laplace:
    "Twelve lines of a user: k scales about zero."
    def __init__(self, scales): self.scales = np.asarray(scales, float)
    @property
    def k(self): return len(self.scales)
    def log_prob(self, x): return (-np.abs(x)[:, None] / self.scales - np.log(2 * self.scales)).sum(2)
    def stats(self, x, resp): return np.column_stack([resp.sum(0), resp.T @ np.abs(x)])
    def maximize(self, stats, prior=None): return Laplace(stats[:, 1:] / stats[:, :1])


def test_three_methods_are_enough():
    rng = np.random.default_rng(0)
    laplace, w = Laplace([[1.0], [5.0]]), rng.uniform(size=9000)
    x = rng.laplace(scale=np.repeat([1.0, 5.0], 4500))[:, None]
    data = prepared(laplace, x, w)
    bounds, log_weights = [], np.log([0.5, 0.5])
    for _ in range(10):
        counts, stats, bound = form(laplace, data, log_weights).em_pass()
        l = log_weights + laplace.log_prob(x)
        assert np.isclose(bound, w @ logsumexp(l, 1), rtol=1e-12)
        bounds.append(bound)
        laplace, log_weights = laplace.maximize(stats), np.log(counts / counts.sum())
    assert (np.diff(bounds) > 0).all() and view(laplace, data) is data.x and read(Laplace, x).d == 1


def test_rows_without_anything_in_them():
    laplace = Laplace([[1.0, 1.0], [5.0, 2.0]])
    x = np.array([[1.0, 2.0], [np.nan, np.nan], [0.5, 3.0]])
    data, w = prepared(laplace, x, [1, 2, 3], "nan"), np.array([1, 3])
    np.testing.assert_array_equal(form(laplace, data).log_joints()[1], 0)
    resp = np.full((3, 2), 0.5)
    np.testing.assert_allclose(form(laplace, data).moments(resp), laplace.stats(x[[0, 2]], 0.5 * w[:, None] * np.ones(2)))
    with pytest.raises(ValueError, match="no rows that are partly missing.*row 2 is one"): prepared(laplace, [[1.0, 2], [3, 4], [np.nan, 1]], missing="nan")
    only = form(laplace, prepared(laplace, np.where(np.arange(10_000)[:, None] < 5000, np.nan, 1.0) * np.ones(2), missing="nan"))  # a tile with nothing in it
    assert only.moments(np.ones((10_000, 2)))[0, 0] == 5000


@pytest.mark.parametrize("wrong", ["poisson", Poisson, [1.0, 5.0], None, 3, int, Family])
def test_what_is_no_family(wrong):
    "What is no family is said, not an AttributeError."
    with pytest.raises(ValueError, match="^emit must be a family"): check_family(wrong, "emit")


def test_a_users_mistakes_are_named():
    class Flat(Laplace):
        def log_prob(self, x): return np.zeros(len(x))
    class Nan(Laplace):
        def log_prob(self, x): return np.full((len(x), 2), np.nan)
    for cls, message in ((Flat, r"log_prob of Flat must return shape \(n, k\) = \(2, 2\), got \(2,\)"), (Nan, "log_prob of Nan must return numbers or -inf, got nan for the row")):
        f = cls([[1.0], [2.0]])
        with pytest.raises(ValueError, match=message): form(f, prepared(f, [[1.0], [2.0]])).em_pass()


def test_what_is_kept_goes_with_its_rows():
    g = Gaussian([[0.0, 0.0]], np.eye(2), "tied")
    x = np.random.default_rng(1).standard_normal((50, 2))
    data = g.prepare(x)
    whole = g.form(data, np.zeros(1)).em_pass()[2]
    from em_notes.data.rows import take
    half = take(data, slice(0, 25))
    assert np.isclose(g.form(half, np.zeros(1)).em_pass()[2], g.log_prob(x[:25]).sum()) and np.isclose(whole, g.log_prob(x).sum())
    assert g.prepare(data) is data and kept(data, "second moment", None) is not None and "second moment" not in half.replaced().__dict__


def test_data_of_another_family_are_checked_again():
    data = Gaussian([[0.0]], [[1.0]], "diag").prepare([0.5, 1.0])
    with pytest.raises(ValueError, match="counts 0, 1, 2"): Poisson([1.0]).prepare(data)
    with pytest.raises(ValueError, match="2 columns"): Gaussian([[0.0, 0.0]], [[1.0, 1.0]], "diag").prepare(data)
    with pytest.raises(ValueError, match="weights must come with the raw x"): Poisson([1.0]).prepare(Poisson([1.0]).prepare([1, 2]), [1, 2])


def test_raw_arrays_and_prepared_data_alike():
    "A family's log_prob of a raw array was an AttributeError."
    p = Poisson([[1.0, 2.0], [3.0, 4.0]])
    x = [[0, 1], [2, 3]]
    np.testing.assert_array_equal(p.log_prob(x), p.log_prob(p.prepare(x)))
    np.testing.assert_array_equal(p.stats(x, np.ones((2, 2))).total, p.stats(p.prepare(x), np.ones((2, 2))).total)
    w = p.prepare(x, [1, 2])
    np.testing.assert_array_equal(weighted_stats(p, w, np.ones((2, 2))).total, p.stats(x, [[1, 1], [2, 2]]).total)


def test_an_empty_component():
    with pytest.raises(Degenerate, match="component 1 is empty: its responsibilities sum to 0 of 3") as e: check_count(np.array([3.0, 0.0]))
    assert e.value.component == 1
    check_count(np.array([3.0, 0.0]), prior="any")


def test_a_product_names_columns_and_parts():
    p = Product(Gaussian([[0.0], [1.0]], [1.0, 1.0], "spherical"), Laplace([[1.0], [2.0]]), Poisson([1.0, 2.0]), columns=[[0], [2], [1]])
    with pytest.raises(ValueError, match=r"columns \[1\] of x, read by Poisson: x must hold counts"): p.prepare([[0.0, 0.5, 1.0]])
    with pytest.raises(ValueError, match="Laplace has no method n_parameters"): print(p.n_parameters)
    with pytest.raises(ValueError, match="columns must be given"): Product(Laplace([[1.0]]), Poisson([1.0]))
    with pytest.raises(ValueError, match="prior of a Product must be None or ProductPrior"): p.log_prior((None,))
    x = np.array([[0.1, 3, -1.0], [0.2, np.nan, np.nan], [np.nan, 1, 2.0]])
    data = p.prepare(x, missing="nan")
    alone = Laplace([[1.0], [2.0]])
    want = np.where(np.isnan(x[:, [2]]), 0, alone.log_prob(np.nan_to_num(x[:, [2]])))
    np.testing.assert_allclose(p.log_prob(data) - p.parts[0].log_prob(p.parts[0].prepare(x[:, 0], missing="nan")) - p.parts[2].log_prob(p.parts[2].prepare(x[:, 1], missing="nan")), want, atol=1e-12)
