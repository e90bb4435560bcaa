"The data sets: what was published about them, and that nobody can change them."
import subprocess, sys

import numpy as np
import pytest
from scipy.stats import poisson

from em_notes.data import datasets
from em_notes.data.datasets import deaths, earthquakes, faithful, iris, linkage, murray, source

SHAPES = {"faithful": (272, 2), "linkage": (4,), "deaths": (1096,), "earthquakes": (107,), "murray": (12, 2)}


def arrays(name):
    value = getattr(datasets, name)()
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("name", datasets.NAMES)
def test_read_only_and_sourced(name):
    for x in arrays(name):
        with pytest.raises(ValueError, match="read-only"):
            x[0] = x[1]
    text = source(name)
    assert all(f"{word}: " in text for word in ("Source", "Licence", "Columns")) and len(text.splitlines()) == 4


@pytest.mark.parametrize("name", SHAPES)
def test_shape_and_type(name):
    (x,) = arrays(name)
    assert x.shape == SHAPES[name]
    assert x.dtype == (float if name in ("faithful", "murray") else int)


def test_faithful_summary():
    # summary(faithful) in R: minimum, first quartile, median, third quartile, maximum
    published = [[1.6, 43], [2.163, 58], [4.0, 76], [4.454, 82], [5.1, 96]]
    assert np.allclose(np.quantile(faithful(), [0, 0.25, 0.5, 0.75, 1], axis=0), published, atol=5e-4)
    assert np.allclose(faithful().mean(0), [3.488, 70.9], atol=5e-3)
    assert faithful()[0].tolist() == [3.6, 79] and faithful()[-1].tolist() == [4.467, 74]


def test_linkage():
    assert linkage().tolist() == [125, 18, 20, 34]


def test_deaths():
    x = deaths()
    assert np.unique(x, return_counts=True)[1].tolist() == [162, 267, 271, 185, 111, 61, 27, 8, 3, 1]
    assert np.all(np.diff(x) >= 0)
    assert poisson.logpmf(x, x.mean()).sum() == pytest.approx(-2001.397847371757, abs=1e-8)


def test_earthquakes():
    x = earthquakes()
    assert -poisson.logpmf(x, x.mean()).sum() == pytest.approx(391.91892816549495, abs=1e-8)
    assert x[:3].tolist() == [13, 14, 8] and x[-1] == 11 and x.max() == 41 and 1900 + x.argmax() == 1943


def test_murray():
    x = murray()
    missing = np.isnan(x)
    assert missing.sum(0).tolist() == [4, 4] and not missing.all(1).any()
    complete = x[~missing.any(1)]
    assert complete.T @ complete == pytest.approx(4*np.eye(2))
    assert np.abs(x[missing.any(1)][~missing[missing.any(1)]]).tolist() == [2]*8


def test_iris_is_scikit_learns():
    sk = pytest.importorskip("sklearn.datasets").load_iris()
    x, species = iris()
    assert np.array_equal(x, sk.data)
    assert np.array_equal(species, sk.target_names[sk.target])


def test_iris_summary():
    x, species = iris()
    assert x.shape == (150, 4) and np.allclose(x.mean(0), [5.843, 3.057, 3.758, 1.199], atol=5e-4)
    assert np.allclose(x[species == "setosa"].mean(0), [5.006, 3.428, 1.462, 0.246])


def test_unknown_name():
    with pytest.raises(ValueError, match="name is 'titanic', expected one of faithful, linkage"):
        source("titanic")


def test_import_is_light():
    code = "import sys, em_notes.data.datasets as d; d.faithful(); print({'pandas', 'matplotlib', 'sklearn'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"
