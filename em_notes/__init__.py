"""Executable notes on Expectation-Maximization: one driver, models that are their parameters, bounds in nats."""
__version__ = "0.2.0"

from em_notes import steps
from em_notes.driver import BoundFell, EMResult, em, iterate
from em_notes.families.counting import Bernoulli, Categorical, Poisson
from em_notes.families.exponential import Exponential
from em_notes.families.gaussian import Gaussian
from em_notes.families.priors import BetaPrior, DirichletPrior, GammaPrior, NormalInverseWishart
from em_notes.families.mixtures import MixtureFamily
from em_notes.families.product import Product
from em_notes.laws import check_model
from em_notes.models.hmm import HMM, HMMPrior
from em_notes.models.mixture import GMM, Mixture, MixturePrior
from em_notes.protocol import Degenerate, EMState, Impossible, Stats
from em_notes.save import load, save
from em_notes.settings import backend, threads
from em_notes.starts import best_of

__all__ = ["BoundFell", "EMResult", "em", "iterate", "steps", "Bernoulli", "Categorical", "Poisson", "Exponential", "Gaussian", "BetaPrior", "DirichletPrior",
           "GammaPrior", "NormalInverseWishart", "MixtureFamily", "Product", "check_model", "HMM", "HMMPrior", "GMM", "Mixture", "MixturePrior", "Degenerate", "EMState",
           "Impossible", "Stats", "load", "save", "backend", "threads", "best_of"]
