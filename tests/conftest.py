"""Which tests are slow, and fixtures for those that need a browser: a headless Chromium and the rendered site."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# CI sets this: there a browser test that is skipped has failed.
REQUIRED = bool(os.environ.get("EM_NOTES_REQUIRE_BROWSER"))
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
--disable-component-update --disable-sync""".split()
SLOW_FIXTURES = {"site", "lab", "browser"}  # the first of these runs all notebooks


def pytest_addoption(parser):
    parser.addoption("--site", type=Path, help="a rendered site to test, by nbconvert or Quarto; default: render one with nbconvert")
    parser.addoption("--lessons", action="store_true", help="run every lesson in JupyterLab, which takes many minutes, and not only a few notebooks")


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs Chromium; a skip counts as a failure where CI asks for it")
    config.addinivalue_line("markers", "slow: seconds rather than tenths; `make check` leaves it to `make test`")
    config.addinivalue_line("markers", "xdist_group: tests that one worker runs, with `-n auto --dist loadgroup`")


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent.name == "engine":  # these compile kernels of many sizes; each file's are its own
            item.add_marker("slow")
            item.add_marker(pytest.mark.xdist_group(item.path.name))
        if SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker("slow")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if REQUIRED and report.skipped and item.get_closest_marker("browser"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but EM_NOTES_REQUIRE_BROWSER is set: {call.excinfo.value}"
    return report


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        names = ("chromium", "chromium-browser", "google-chrome")
        found = [path for path in map(shutil.which, names) if path]
        program = os.environ.get("CHROMIUM") or (found + [playwright.chromium.executable_path])[0]
        if not os.path.exists(program):
            pytest.skip("no Chromium: install it (apt-get install chromium) or set CHROMIUM to its path")
        chromium = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def site(request):
    "The folder of the site: that of `--site`, else rendered by nbconvert from executed copies of the notebooks."
    given = request.config.getoption("--site")
    if given:
        assert (given / "index.html").is_file(), f"{given} has no index.html: run `make book`"
        return given.resolve()
    filelock = pytest.importorskip("filelock")
    out = ROOT / "_build" / "site"
    out.parent.mkdir(exist_ok=True)
    with filelock.FileLock(out.with_suffix(".lock")):  # with several workers one renders and the others wait
        subprocess.run([sys.executable, "-m", "tools.book", "--nbconvert", "--out", out], cwd=ROOT, check=True)
    return out
