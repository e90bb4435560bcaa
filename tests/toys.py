"""Toys and random models: small problems that stretch the protocol of `em` in seven directions, and random models of every family."""
from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
from scipy.optimize import minimize
from scipy.special import gammaln, log_softmax, logsumexp, xlog1py, xlogy
from scipy.stats import beta

from em_notes import (Bernoulli, BetaPrior, Categorical, DirichletPrior, GammaPrior, Gaussian, Mixture, MixturePrior,
                      NormalInverseWishart, Poisson)
from em_notes.protocol import Stats

# Genetic linkage (Rao 1973): four classes of animals, the first of which is split into two cells.
LINKAGE = np.array([125.0, 18, 20, 34])
LINKAGE_MLE = (15 + np.sqrt(53809)) / 394
# Two coins (Do and Batzoglou 2008): heads and tails of five rows.
TOSSES = np.array([[5.0, 5], [9, 1], [8, 2], [4, 6], [7, 3]])


@dataclass(frozen=True, eq=False)
class Cells(Stats):
    "Expected animals by cell."
    cells: np.ndarray  # (5,)


@dataclass(frozen=True, eq=False)
class Linkage:
    "Linkage data as one multinomial; the data are the four counts. A Beta(a, b) prior is the pair (a, b)."
    theta: float

    def __post_init__(self):
        if not 0 < self.theta < 1:
            raise ValueError(f"theta must lie between 0 and 1, got {self.theta}; choose another start")

    @property
    def share(self):  # p(hidden cell | first class)
        return self.theta / (2 + self.theta)

    @property
    def log_probs(self):  # (5,)
        t = self.theta
        return np.log(np.array([2, t, 1 - t, 1 - t, t]) / 4)

    def log_likelihood(self, x):
        t = self.theta
        return float(x @ np.log(np.array([2 + t, 1 - t, 1 - t, t]) / 4))

    def expected_stats(self, x):
        return self.complete_stats(x, x[0] * self.share), self.log_likelihood(x)

    def maximize(self, stats, prior=None):
        a, b = prior or (1, 1)
        up, down = stats.cells[[1, 4]].sum() + a - 1, stats.cells[[2, 3]].sum() + b - 1
        return type(self)(float(up / (up + down)))

    def log_prior(self, prior):
        return float(beta(*prior).logpdf(self.theta))

    def expected_loglik(self, stats):
        return float(stats.cells @ self.log_probs)

    def entropy(self, x):
        p = self.share
        return float(-x[0] * (xlogy(p, p) + xlog1py(1 - p, -p)))

    def to_vector(self):
        return np.array([np.log(self.theta / (1 - self.theta))])

    def from_vector(self, v):
        return type(self)(float(1 / (1 + np.exp(-v[0]))))

    def split(self, x):
        return np.floor(x / 3), x - np.floor(x / 3)

    def hidden_values(self, x):
        return range(int(x[0]) + 1)

    def complete_stats(self, x, z):
        return Cells(np.array([x[0] - z, z, *x[1:]]))

    def log_joint(self, x, z):
        ways = gammaln(x[0] + 1) - gammaln(z + 1) - gammaln(x[0] - z + 1)
        return float(ways + self.complete_stats(x, z).cells @ self.log_probs)


@dataclass(frozen=True, eq=False)
class Tosses(Stats):
    "What each coin is credited with."
    rows: np.ndarray  # (k,)
    faces: np.ndarray  # (2, k)


@dataclass(frozen=True, eq=False)
class Coins:
    "Rows of tosses, each of a coin drawn with known probabilities."
    theta: np.ndarray  # (k,) probabilities of heads
    weights: np.ndarray  # (k,) of drawing each coin; they stay as they are

    @property
    def k(self):
        return len(self.theta)

    def log_joints(self, x):  # (n, k)
        return x @ np.log([self.theta, 1 - self.theta]) + np.log(self.weights)

    def credit(self, x, q):
        return Tosses(q.sum(0), x.T @ q)

    def expected_stats(self, x):
        table = self.log_joints(x)
        return self.credit(x, np.exp(log_softmax(table, 1))), float(logsumexp(table, 1).sum())

    def mode_stats(self, x):
        table = self.log_joints(x)
        return self.credit(x, np.eye(self.k)[table.argmax(1)]), float(table.max(1).sum())

    def maximize(self, stats, prior=None):
        return type(self)(stats.faces[0] / stats.faces.sum(0), self.weights)

    def log_likelihood(self, x):
        return float(logsumexp(self.log_joints(x), 1).sum())

    def expected_loglik(self, stats):
        return float((stats.faces * np.log([self.theta, 1 - self.theta])).sum() + stats.rows @ np.log(self.weights))

    def entropy(self, x):
        log_q = log_softmax(self.log_joints(x), 1)
        return float(-(np.exp(log_q) * log_q).sum())

    def to_vector(self):
        return np.log(self.theta / (1 - self.theta))

    def from_vector(self, v):
        return type(self)(1 / (1 + np.exp(-v)), self.weights)

    def permute(self, order):
        return type(self)(self.theta[order], self.weights[order])

    def split(self, x):
        return x[: len(x) // 2], x[len(x) // 2 :]

    def hidden_values(self, x):
        return product(range(self.k), repeat=len(x)) if self.k ** len(x) <= 3000 else None

    def complete_stats(self, x, z):
        return self.credit(x, np.eye(self.k)[list(z)])

    def log_joint(self, x, z):
        return float(self.log_joints(x)[np.arange(len(x)), list(z)].sum())


# --- 1. Monte Carlo EM: a seed and the step's number make each draw, so that a resumed run repeats it ---


def sampled(draws, seed=0):  # an E-step that averages over `draws` samples of z
    def e_step(theta, x, memory, t):
        rng = np.random.default_rng([seed, t])
        z = rng.binomial(int(x[0]), theta.share, size=draws)
        mean = theta.complete_stats(x, z.mean())
        # an estimate of F at the posterior; the sampler knows its own entropy
        return mean, theta.expected_loglik(mean) + theta.entropy(x), memory

    e_step.kind = "noisy"
    return e_step


# --- 2. Mean field: rows are coupled, q is a product, and each E-step starts from the last q ---


@dataclass(frozen=True, eq=False)
class CoupledCoins(Coins):
    "Coins whose neighbours in a chain of rows are the same with log-odds `coupling` above chance."
    coupling: float = 1.5

    def maximize(self, stats, prior=None):
        return type(self)(stats.faces[0] / stats.faces.sum(0), self.weights, self.coupling)

    def log_norm(self, n):  # log of the sum over z of prod(weights) exp(coupling * equal neighbours)
        message = np.log(self.weights)
        for _ in range(n - 1):
            message = logsumexp(message[:, None] + self.coupling * np.eye(self.k) + np.log(self.weights), axis=0)
        return float(logsumexp(message))

    def log_joint(self, x, z):
        z = np.asarray(z)
        own = self.log_joints(x)[np.arange(len(x)), z].sum()
        return float(own + self.coupling * (z[1:] == z[:-1]).sum() - self.log_norm(len(x)))

    def mean_field_bound(self, x, q):
        same = (q[1:] * q[:-1]).sum()
        return float((q * self.log_joints(x)).sum() + self.coupling * same - self.log_norm(len(x)) - xlogy(q, q).sum())


def mean_field(sweeps, warm=True):  # an E-step over products q_1(z_1) q_2(z_2) ...
    def e_step(theta, x, memory, t):
        own = theta.log_joints(x)
        q = np.full(own.shape, 1 / theta.k) if memory is None or not warm else memory.copy()
        for _ in range(sweeps):
            for i in range(len(x)):
                near = sum(q[j] for j in (i - 1, i + 1) if 0 <= j < len(x))
                q[i] = np.exp(log_softmax(own[i] + theta.coupling * near))
        return theta.credit(x, q), theta.mean_field_bound(x, q), q

    e_step.kind = "lower"
    return e_step


# --- 3. Stepwise: each E-step sees one mini-batch, scaled to the whole ---


def minibatch(batches):  # an E-step on the next of `batches` equal slices
    def e_step(theta, x, memory, t):
        part = x[t % batches :: batches]
        stats, bound = theta.expected_stats(part)
        scale = len(x) / len(part)
        return scale * stats, scale * bound, memory

    e_step.kind = "noisy"
    return e_step


# --- 5. A bare log-joint: no statistics but the table of q, no M-step but a numerical optimiser ---


@dataclass(frozen=True, eq=False)
class Bare:
    "Free parameters; all it can say is `log_joint`."
    v: np.ndarray  # (p,)

    def log_joint(self, x):  # (n, k): here coins by their logits, drawn with equal probability
        heads = -np.log1p(np.exp(-self.v))
        return x @ np.stack([heads, heads - self.v]) - np.log(len(self.v))


def table_of_q(theta, x, memory, t):
    table = theta.log_joint(x)
    return (x, np.exp(log_softmax(table, 1))), float(logsumexp(table, 1).sum()), memory


table_of_q.kind = "exact"


def climb(theta, stats, prior):
    x, q = stats
    found = minimize(lambda v: -(q * type(theta)(v).log_joint(x)).sum(), theta.v, method="BFGS", options=dict(gtol=1e-9))
    return type(theta)(found.x)


# --- 6. An M-step with a memory: how far it dares to go, as an optimiser would remember ---


class Bolder:
    "A share of the way to the maximum, larger each time."

    def init(self, theta, data):
        return 0.5

    def __call__(self, theta, stats, prior, rest):
        there = theta.maximize(stats, prior).to_vector()
        return theta.from_vector(rest * theta.to_vector() + (1 - rest) * there), rest / 2


# --- 7. A user's family of three methods: normals with known variance ---


class Centres:
    def __init__(self, means):
        self.means = np.asarray(means, dtype=float)  # (k,)

    @property
    def k(self):
        return len(self.means)

    def log_prob(self, x):
        return -0.5 * (x - self.means) ** 2 - 0.5 * np.log(2 * np.pi)

    def stats(self, x, resp):
        return np.array([resp.sum(0), x[:, 0] @ resp])

    def maximize(self, stats, prior=None):
        return Centres(stats[1] / stats[0])


# --- Random models of every family, and priors with their mode inside ---

COVARIANCES = {"full": "full", "tied": "full", "diag": "diag", "tied_diag": "diag", "spherical": "spherical", "tied_spherical": "spherical"}  # type -> shape
FAMILIES = [*COVARIANCES, "poisson", "bernoulli", "categorical"]
FEW_FAST = [pytest.param(name, marks=[] if name in ("full", "categorical") else pytest.mark.slow) for name in FAMILIES]  # for tests of seconds


def cov_shape(covariance: str, k: int, d: int) -> tuple:
    "The shape of `covs` by covariance type."
    own = {"full": (d, d), "diag": (d,), "spherical": ()}[COVARIANCES[covariance]]
    return own if covariance.startswith("tied") else (k, *own)


def random_covs(covariance: str, k: int, d: int, rng) -> np.ndarray:
    "Covariances of the type's shape, well conditioned."
    shape = cov_shape(covariance, k, d)
    if COVARIANCES[covariance] != "full": return np.exp(0.5 * rng.standard_normal(shape))
    a = rng.standard_normal((*shape[:-1], d)) / np.sqrt(d)
    return a @ np.swapaxes(a, -1, -2) + np.eye(d)

def random_mixture(family: str, k: int, d: int, seed: int, apart: float = 2.0) -> Mixture:
    "A mixture of `family` with interior parameters; `apart` spreads Gaussian means."
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.full(k, 5.0))
    if family == "poisson": parts = Poisson(rng.gamma(4.0, size=(k, d)))
    elif family == "bernoulli": parts = Bernoulli(rng.uniform(0.1, 0.9, (k, d)))
    elif family == "categorical": parts = Categorical(rng.dirichlet(np.full(d + 1, 3.0), k))
    else: parts = Gaussian(apart * rng.standard_normal((k, d)), random_covs(family, k, d, rng), family)
    return Mixture(weights, parts)

def interior_prior(family: str, d: int) -> MixturePrior:
    "A proper prior for each family, with its mode inside."
    if family in COVARIANCES:
        scatter = {"full": np.eye(d), "diag": np.ones(d), "spherical": 1.5}[COVARIANCES[family]]
        return MixturePrior(DirichletPrior(2.0), NormalInverseWishart(np.full(d, 0.3), 0.7, scatter, d + 2.0))
    return MixturePrior(DirichletPrior(2.0), {"poisson": GammaPrior(2.0, 0.5), "bernoulli": BetaPrior(2.0, 3.0), "categorical": DirichletPrior(1.5)}[family])
