"""What long runs, many threads and a damaged disk could do to the compiled code."""
import os
import resource
import sys

import numpy as np
import pytest

from em_notes import HMM
from models import random_mixture


def memory():
    "Bytes this process holds now; where the system does not say, the most it ever held."
    if os.path.exists("/proc/self/statm"):
        with open("/proc/self/statm") as f: return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def model(kind, family):
    mixture = random_mixture(family, 3, 2, seed=0)
    if kind == "mixture": return mixture
    return HMM(np.full(3, 1 / 3), np.full((3, 3), 0.1) + 0.7 * np.eye(3), mixture.components)


@pytest.mark.parametrize("kind, family", [
    *(("mixture", f) for f in ("full", "tied", "diag", "spherical", "poisson", "bernoulli", "categorical")),
    *(("hmm", f) for f in ("full", "tied", "diag", "spherical", "poisson", "bernoulli", "categorical"))])
def test_a_thousand_steps_leave_no_memory_behind(kind, family):
    theta = model(kind, family)
    data = theta.prepare(theta.sample(300, 1)[0])
    def steps(n):
        for _ in range(n): theta.expected_stats(data)
    steps(100) # compiles, and lets the allocator settle
    before = memory()
    steps(1000)
    assert memory() - before < 4 * 2 ** 20
