"""What long runs, many threads and a damaged disk could do to the compiled code."""
import os
import resource
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import em_notes
from em_notes import HMM
from em_notes import kernels as K
from em_notes.em import em
from models import random_mixture

ROOT = Path(em_notes.__file__).parent.parent


def run(code, *args, **env):
    "The last line that a fresh process prints."
    done = subprocess.run([sys.executable, "-c", code, *args], env={**os.environ, "PYTHONPATH": str(ROOT), **env},
                          capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


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


MASKS = """
import re, numpy as np
from em_notes import chain_kernels, compiled, emission_kernels, path_kernels
from em_notes.lanes import column
rng = np.random.default_rng(0)
for k in (3, 20):
    l = rng.normal(size=(301, k))
    compiled.exponentiate(l.T.copy(), np.empty(301), np.empty(301), 301)
    emission_kernels.turn(l, np.empty((k, 301)), 301, k)
    emission_kernels.scaled_likelihoods(l)
    b = np.exp(l)
    chain_kernels.filtering(np.full(k, 1 / k), np.full((k, k), 1 / k), l, b, np.zeros(301))
    path_kernels.viterbi(np.zeros(k), np.zeros((k, k)), l)
found = []
for f in (compiled.exponentiate, emission_kernels.turn, emission_kernels.scale_rows,
          chain_kernels.forward, path_kernels.best_message, path_kernels.trace):
    assert f.signatures
    found += [(f.__name__, line) for asm in f.inspect_asm().values() for line in asm.splitlines()
              if re.search(r"maskmov|vmovu.*[(].*[{]%k|vmovu.*[{]%k.*[(]", line)]
print(found)
"""


def test_no_masked_loads_and_stores(tmp_path):
    "Some processors take a hundred times longer over a mask that is empty, and no test of values sees it."
    assert run(MASKS, NUMBA_CACHE_DIR=str(tmp_path)) == "[]"


def test_rows_end_where_they_end():
    "Row ends of every length, also at the end of the memory: nothing beyond is written."
    from em_notes import emission_kernels as E
    rng = np.random.default_rng(0)
    for k in range(1, 20):
        for n in (1, 2, 5, 225):
            l = rng.normal(size=(n, k)) * 10
            memory = np.full((n + 2, k), 7.0)
            b, top = E.scaled_likelihoods(l, memory[1:-1])
            assert np.array_equal(top, l.max(1)) and np.allclose(b, np.exp(l - top[:, None]), rtol=1e-14)
            assert (memory[[0, -1]] == 7).all()
            out = np.full((k, n), 7.0)
            E.turn(l, out, n, k)
            assert np.array_equal(out, l.T)


def test_fits_side_by_side_keep_their_own_settings():
    thetas = [model("mixture", "full"), model("hmm", "full"), model("hmm", "categorical"), model("mixture", "poisson")]
    xs = [theta.sample([300] * 8 if isinstance(theta, HMM) else 3000, 1)[0] for theta in thetas]
    settings = [(name, n) for name in ("numba", "numpy") for n in (1, 2, 3)]

    def fit(i, name, n):
        with K.backend(name), K.threads(n):
            result = em(thetas[i], xs[i], max_iter=3, tol=0)
            assert (K.current("backend"), K.current("threads")) == (name, n)
            return result.bounds

    jobs = [(i, *s) for i in range(4) for s in settings] * 2
    alone = {job: fit(*job) for job in set(jobs)}
    with ThreadPoolExecutor(16) as pool: together = list(pool.map(fit, *zip(*jobs)))
    for job, bounds in zip(jobs, together, strict=True): assert np.array_equal(bounds, alone[job])
    assert K.current("backend") == K.DEFAULTS["backend"]


def test_blocks_of_settings_may_end_in_any_order():
    def block(n):
        with K.threads(n): yield

    before, steps = K.current("threads"), [block(n) for n in (11, 12, 13)]
    for s in steps: next(s)
    for s, then in zip(steps, (13, 13, before)):
        next(s, None)
        assert K.current("threads") == then
    with K.backend("numpy"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(K.current, "backend").result() == K.DEFAULTS["backend"] # another thread's are its own


def test_helping_threads_see_the_settings_of_their_caller():
    from em_notes.chain_kernels import together
    seen = lambda: (threading.current_thread().name, K.current("backend"), K.current("threads"))
    barrier = threading.Barrier(3)
    def task():
        barrier.wait(30) # so that every thread takes one
        return seen()
    with K.threads(3), K.backend("numpy"): got = together([task] * 3)
    assert len({name for name, *_ in got}) == 3 and {tuple(rest) for _, *rest in got} == {("numpy", 3)}


KERNEL = """
import sys, numpy as np
from em_notes import emission_kernels as E
b, top = E.scaled_likelihoods(np.zeros((9, 3)))
print(b[0, 0], sum(E.scale_rows.stats.cache_hits.values()))
"""


@pytest.fixture
def package(tmp_path):
    "A copy of the package, and how to run the kernel in it."
    copy = tmp_path / "lib"
    shutil.copytree(ROOT / "em_notes", copy / "em_notes", ignore=shutil.ignore_patterns("__pycache__"))
    def start(code=KERNEL, **env):
        inherited = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
        env = {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "NUMBA_CACHE_DIR": str(tmp_path / "cache"), **env}
        done = subprocess.run([sys.executable, "-W", "error", "-c", code], env={**inherited, **env}, cwd=copy, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.strip()
    return copy / "em_notes", tmp_path / "cache", start


def kept(folder): return sorted(p for p in folder.rglob("*.nbk"))


def test_a_damaged_cache_is_mended(package):
    _, cache, start = package
    assert start() == "1.0 0" and start() == "1.0 1"
    def flip(data): return data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]
    for damage in (lambda data: b"", lambda data: b"rubbish", flip):
        assert kept(cache)
        for path in kept(cache): path.write_bytes(damage(path.read_bytes()))
        assert start() == "1.0 0" and start() == "1.0 1"


def test_a_change_in_any_kernel_is_seen(package):
    source, _, start = package
    start()
    for old, new in (("return times_power(p, m)", "return times_power(p + p, m)"), ("return times_power(p + p, m)", "return times_power(p * 3.0, m)")):
        text = (source / "compiled.py").read_text()
        assert text.count(old) == 1
        (source / "compiled.py").write_text(text.replace(old, new))
        assert start() == ("2.0 0" if "+" in new else "3.0 0")
    assert start() == "3.0 1"


def test_a_full_disk_costs_only_time(package):
    _, cache, start = package
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    assert start(full + KERNEL) == "1.0 0" and not [p for p in cache.rglob("*") if p.is_file()]
    start()
    for path in kept(cache): # what can be neither read nor replaced
        path.unlink()
        path.mkdir()
    assert start() == "1.0 0"


def test_an_install_that_cannot_be_written_uses_the_users_folder(package, tmp_path):
    source, _, start = package
    (source / "__pycache__").write_text("a file where numba's folder should be")
    home = dict(NUMBA_CACHE_DIR="", XDG_CACHE_HOME=str(tmp_path / "home"), HOME=str(tmp_path / "home"))
    assert start(**home) == "1.0 0" and start(**home) == "1.0 1" and kept(tmp_path / "home")
