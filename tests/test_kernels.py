"""The compiled kernels beside their numpy twins, and everything that threads, forks, caches and interrupts could break."""
import os
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import em_notes
from em_notes import kernels as K
from em_notes.data import as_data
from em_notes.em import em
from em_notes.mixture import GMM

ROOT = Path(em_notes.__file__).parent.parent
SHAPES = [(1, 1, 1), (2, 1, 2), (5, 2, 3), (255, 5, 5), (256, 7, 7), (257, 10, 10), (1000, 13, 13), (3001, 4, 6), (777, 3, 70), (600, 70, 5), (300, 64, 16), (400, 70, 70)]
WHITE_KINDS = ["full", "diag"]


def size(kind, d):
    return {"linear": 1 + d, "norm": 2 + d, "square": 1 + 2 * d, "outer": 1 + d + d * (d + 1) // 2, "binary": 1 + 2 * d, "onehot": 7}[kind]


def problem(n, d, k, kind="outer", weighted=False, seed=0):
    rng = np.random.default_rng([n, d, k, seed])
    weights = rng.uniform(0.1, 3, n) if weighted else None
    if kind == "onehot": data = as_data(rng.integers(0, 6, (n, 1)).astype(float), weights)
    elif kind == "binary": data = replace(as_data(rng.integers(0, 2, (n, d)).astype(float), weights), center=np.zeros(d), scale=np.ones(d))
    else: data = as_data(rng.normal(size=(n, d)) * 3 + 100, weights)
    return data, rng.normal(size=(k, size(kind, d))) * min(0.3, 2 / d)


def components(data, k, kind="full", seed=0):
    rng = np.random.default_rng(seed)
    n, d = data.x.shape
    w = np.tril(rng.normal(size=(k, d, d)) * 0.2) + np.eye(d) if kind == "full" else rng.uniform(0.3, 2, (k, d))
    return data.x[rng.integers(n, size=k)] + 0.1, w, rng.normal(size=k)


def same(fast, slow, tol=1e-12, rows=0):
    for a, b in zip(fast, slow, strict=True):
        assert np.shape(a) == np.shape(b) and np.isfinite(a).all()
        assert np.max(np.abs(a - b)) <= tol * (rows * (np.ndim(b) == 0) + np.max(np.abs(b)))


def in_numpy(f):
    with K.backend("numpy"): return f()


def test_compiled_code_is_what_runs():
    assert K.compiled() is not None and in_numpy(K.compiled) is None


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["linear", "norm", "square", "outer", "binary", "onehot"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_expanded_pass_equals_numpy(shape, kind, weighted):
    data, eta = problem(*shape, kind, weighted)
    fast, joints = K.em_pass(data, eta, kind), K.log_joints(data, eta, kind)
    same(fast, in_numpy(lambda: K.em_pass(data, eta, kind)), rows=len(data))
    same([joints], [in_numpy(lambda: K.log_joints(data, eta, kind))])


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", WHITE_KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_whitened_pass_equals_numpy(shape, kind, weighted):
    data, _ = problem(*shape, weighted=weighted)
    theta = components(data, shape[2], kind)
    same(K.whitened_pass(data, *theta), in_numpy(lambda: K.whitened_pass(data, *theta)), rows=len(data))
    same([K.whitened_joints(data, *theta)], [in_numpy(lambda: K.whitened_joints(data, *theta))])


@pytest.mark.parametrize("n, d, k", [(100, 2, 3), (30_000, 3, 5), (20_001, 16, 10), (4000, 64, 16)])
def test_same_bits_from_any_number_of_threads(n, d, k):
    data, eta = problem(n, d, k, weighted=True)
    theta, wide = components(data, k), components(data, k, "diag")
    def everything(t):
        with K.threads(t): return *K.em_pass(data, eta, "outer"), *K.whitened_pass(data, *theta), *K.whitened_pass(data, *wide), K.log_joints(data, eta, "outer")
    one = everything(1)
    for t in (2, 3):
        for a, b in zip(one, everything(t), strict=True): assert np.array_equal(a, b)


def test_fits_are_the_same_at_any_number_of_threads_and_near_numpy():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=(9000, 3)), rng.normal(size=(9000, 3)) @ np.diag([1, 2, 0.5]) + 2])
    theta = GMM([0.5, 0.5], x[[0, -1]], np.array([np.cov(x.T)] * 2))
    def fit(t):
        with K.threads(t): return em(theta, x, tol=0, max_iter=15)
    one, two, slow = fit(1), fit(2), in_numpy(lambda: fit(1))
    assert np.array_equal(one.bounds, two.bounds) and np.array_equal(one.theta.components.covs, two.theta.components.covs)
    assert np.allclose(one.bounds, slow.bounds, rtol=1e-12) and np.allclose(one.theta.components.covs, slow.theta.components.covs, rtol=1e-9)


def test_impossible_events():
    data, eta = problem(500, 6, 4, "binary")
    eta[0, 1:4] = eta[2, 9] = K.LOG_ZERO
    same(K.em_pass(data, eta, "binary"), in_numpy(lambda: K.em_pass(data, eta, "binary")), rows=500)
    eta[:, 1] = K.LOG_ZERO # now every row with a 1 in front is impossible
    assert K.em_pass(data, eta, "binary")[1] == -np.inf == in_numpy(lambda: K.em_pass(data, eta, "binary"))[1]


def test_rows_so_far_that_every_density_underflows():
    data, _ = problem(700, 3, 4)
    means, w, const = components(data, 4)
    far = np.array(data.x); far[::7] += 1e7
    data = replace(data, x=far)
    fast = K.whitened_pass(data, means, w, const)
    same(fast, in_numpy(lambda: K.whitened_pass(data, means, w, const)), rows=700)
    assert fast[3] < -1e15 and np.isclose(fast[0].sum(), 700, rtol=1e-12)


def test_far_components_get_exact_zeros():
    data = as_data(np.linspace(0, 1, 300)[:, None])
    eta = np.array([[0.0, 0, 0], [-800.0, 0, 0]])
    sums, _ = K.em_pass(data, eta, "outer")
    assert (sums[1] == 0).all() and sums[0, 0] == 300


@pytest.mark.parametrize("unit", [1e-310, 5e-324, 1e-200, 1e100])
def test_denormal_and_huge_units(unit):
    x = np.random.default_rng(0).integers(1, 50, (400, 2)) * unit
    data, eta = as_data(x), problem(1, 2, 3)[1]
    if data.scale.min() < 1e-300: # 1 / scale would be infinite: numpy takes over
        same([K.em_pass(data, eta, "outer")[0]], [in_numpy(lambda: K.em_pass(data, eta, "outer"))[0]], tol=0)
    else: same(K.em_pass(data, eta, "outer"), in_numpy(lambda: K.em_pass(data, eta, "outer")), rows=400)


def test_denormals_among_ordinary_numbers():
    x = np.random.default_rng(0).normal(size=(400, 3))
    x[::5, 0], x[::9, 2] = 5e-324, -1e-310
    data, eta = as_data(x), problem(1, 3, 4)[1]
    same(K.em_pass(data, eta, "outer"), in_numpy(lambda: K.em_pass(data, eta, "outer")), rows=400)


def test_parameters_that_are_not_finite_never_reach_compiled_code():
    _, eta = problem(50, 2, 3)
    assert K.compiled(eta) is not None
    for bad in (np.nan, np.inf, -np.inf):
        eta[0, 0] = bad
        assert K.compiled(eta) is None


@pytest.mark.parametrize("covariance", ["full", "tied", "diag", "spherical"])
def test_small_components_far_apart_keep_their_digits(covariance):
    "Spread 1e4 times a component's own deviation, at an offset of 1e6: covariances to 1e-9 of a two-pass reference."
    rng = np.random.default_rng(1)
    u = rng.normal(size=(2, 2000, 3)) # the same cloud about both centres
    u[1] = u[0]
    centres = np.array([[0.0, 0, 0], [1e4, 1e4, -1e4]]) + 1e6
    x = (u + centres[:, None]).reshape(-1, 3)
    v = x[:2000] - x[:2000].mean(0)
    full = v.T @ v / 2000
    start = {"full": [full] * 2, "tied": full, "diag": [np.diag(full)] * 2, "spherical": [np.trace(full) / 3] * 2}[covariance]
    got = em(GMM([0.5, 0.5], centres, np.array(start), covariance), x, tol=0, max_iter=2).theta.components.covs
    got = got if covariance == "tied" else got[0]
    want = {"full": full, "tied": full, "diag": np.diag(full), "spherical": np.trace(full) / 3}[covariance]
    assert np.max(np.abs(got - want)) < 1e-9 * np.max(np.abs(want))


def test_rows_go_through_once_and_in_order():
    seen = []
    def work(own, lo, hi): own[0][0] += hi - lo; seen.append((lo, hi)); return 1.0
    with K.threads(1): (rows,), bound = K.sweep(123_457, 5000, [(1,)], work)
    assert rows[0] == 123_457 and bound == len(seen) and seen[0][0] == 0 and seen[-1][1] == 123_457
    assert all(a[1] == b[0] for a, b in zip(seen, seen[1:]))


def test_memory_of_the_blocks_stays_small():
    for n, k, d in ((10 ** 7, 16, 64), (10 ** 7, 70, 70), (10 ** 6, 16, 8), (200_000, 16, 64)):
        per_block = 8 * k * size("outer", d)
        blocks = -(-n // K.block_rows(n, 4 * k * size("outer", d), per_block))
        assert 1 < blocks <= 64 and blocks * per_block < 12 * 2 ** 20


def test_an_error_in_a_helping_thread_reaches_the_caller():
    started = threading.Event()
    def slow(own, lo, hi):
        if threading.current_thread() is not threading.main_thread():
            started.set()
            raise OSError("from a helper")
        started.wait(30) # until a helper has taken a block
        return 0.0
    with K.threads(2), pytest.raises(OSError, match="from a helper"): K.sweep(200_000, 5000, [], slow)
    data, eta = problem(30_000, 3, 5)
    with K.threads(2): again = K.em_pass(data, eta, "outer")
    with K.threads(1): assert np.array_equal(again[0], K.em_pass(data, eta, "outer")[0])


def test_an_interrupt_stops_a_pass_and_leaves_the_pool_working():
    calls = []
    def work(own, lo, hi):
        calls.append(lo)
        if len(calls) == 3: signal.raise_signal(signal.SIGINT)
        return 0.0
    before = signal.signal(signal.SIGINT, signal.default_int_handler) # a process in the background may ignore it
    try:
        with K.threads(1), pytest.raises(KeyboardInterrupt): K.sweep(10 ** 6, 5000, [], work)
    finally: signal.signal(signal.SIGINT, before)
    assert len(calls) == 3
    data, eta = problem(30_000, 3, 5)
    with K.threads(3): K.em_pass(data, eta, "outer")


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a timer signal")
def test_an_interrupted_fit_returns_its_last_state():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60_000, 4))
    theta = GMM(np.full(8, 1 / 8), x[:8], np.array([np.eye(4)] * 8))
    em(theta, x, max_iter=1, tol=0)
    def ring(*_): raise KeyboardInterrupt
    before = signal.signal(signal.SIGALRM, ring)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        result = em(theta, x, max_iter=10 ** 7, tol=0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0); signal.signal(signal.SIGALRM, before)
    assert result.reason == "interrupted" and result.n_iter < 10 ** 7
    assert result.bound == result.bounds[-1] == result.theta.expected_stats(x)[1]


def test_several_threads_may_call_at_once():
    data, eta = problem(40_000, 3, 5)
    want, got = K.em_pass(data, eta, "outer"), []
    callers = [threading.Thread(target=lambda: got.append(K.em_pass(data, eta, "outer"))) for _ in range(4)]
    for t in callers: t.start()
    for t in callers: t.join()
    assert len(got) == 4 and all(np.array_equal(g[0], want[0]) and g[1] == want[1] for g in got)


def run(code, *args, **env):
    "The last line that a fresh process prints."
    done = subprocess.run([sys.executable, "-c", code, *args], env={**os.environ, "PYTHONPATH": str(ROOT), **env}, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip().splitlines()[-1]


FIT = """
import sys, numpy as np
from em_notes import kernels as K
from em_notes.data import as_data
rng = np.random.default_rng(0)
data, eta = as_data(rng.normal(size=(30_000, 3))), rng.normal(size=(5, 10)) * 0.3
def bits(): s, b = K.em_pass(data, eta, "outer"); return s.tobytes().hex()[:400] + str(b)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_works():
    code = FIT + """
import os, multiprocessing as mp
with K.threads(2):
    here = bits() # the pool exists before the fork
    with mp.get_context("fork").Pool(2) as pool: there = pool.starmap_async(bits, [()] * 4).get(120)
print(all(t == here for t in there) and here == bits())
"""
    assert run(code) == "True"


def test_numpy_by_environment_and_without_the_compiler():
    with K.backend("numpy"): pass
    loaded = FIT + "bits(); print(K.compiled() is not None, 'em_notes.compiled' in sys.modules)"
    assert run(loaded) == "True True"
    assert run(loaded, EM_NOTES_KERNELS="numpy") == "False False"
    assert run(loaded, NUMBA_DISABLE_JIT="1") == "False False"
    assert run(FIT + "print(K.current('threads'))", EM_NOTES_THREADS="7") == "7"


def test_importing_the_package_leaves_the_compiler_alone():
    assert run("import sys, em_notes, em_notes.mixture; print('numba' in sys.modules)") == "False"


@pytest.mark.parametrize("name, value", [("EM_NOTES_THREADS", "0"), ("EM_NOTES_THREADS", "many"), ("EM_NOTES_KERNELS", "cuda")])
def test_settings_are_checked(name, value):
    said = run(FIT + "\ntry: bits()\nexcept ValueError as e: print(e)", **{name: value})
    assert name in said and value in said


def test_nothing_to_cache_in(tmp_path):
    "Neither the package's folder nor the user's can hold compiled code: it is compiled for this process alone."
    shutil.copytree(ROOT / "em_notes", tmp_path / "em_notes", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "em_notes" / "__pycache__").write_text("a file where the cache's folder should be")
    env = dict(PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1", HOME="/dev/null", XDG_CACHE_HOME="/dev/null/cache", LOCALAPPDATA="/dev/null/cache")
    code = FIT + "import em_notes.compiled as c; bits(); print(K.__file__.startswith(sys.argv[1]), K.compiled() is c, type(c.expanded_rows._cache).__name__)"
    env_without = {k: v for k, v in os.environ.items() if k != "NUMBA_CACHE_DIR"}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], env={**env_without, **env}, capture_output=True, text=True, timeout=240, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["True", "True", "NullCache"]


def test_one_exponential_for_all():
    from em_notes import compiled
    l = np.concatenate([[np.zeros(256)], -np.logspace(-18, np.log10(699), 70 * 256).reshape(70, 256)])
    want, rows = np.exp(l), np.empty((2, 256))
    compiled.exponentiate(l, rows[0], rows[1], 256)
    assert np.max(np.abs(l - want) / np.spacing(want)) <= 2
    assert (rows[0] == 0).all() and np.allclose(rows[1], want.sum(0), rtol=1e-14)
