"""JupyterLab: notebooks run from top to bottom, and their players move, in a real browser with a live kernel."""
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest

from tools.execute import NBS, ROOT, chapters, name_of

pytestmark = pytest.mark.browser

SETTINGS = {
    # All cells in the page at once: a windowed notebook builds only those in view.
    "notebook-extension/tracker": {"windowingMode": "none"},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}


def get(url, token):
    request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.load(answer)


def wait_until(true, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if true():
                return
        except OSError:  # the server isn't up yet
            pass
        time.sleep(0.2)
    raise TimeoutError(f"{what} took more than {seconds} s")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    "Address and token of a JupyterLab on a copy of the project, with its own configuration."
    home = tmp_path_factory.mktemp("lab")
    ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
    for name in ("nbs", "em_notes", "benchmarks"):  # their results are shown
        shutil.copytree(ROOT / name, home / name, symlinks=True, ignore=ignore)
    for name in ("settings.ini", "_quarto.yml"):
        shutil.copy(ROOT / name, home)
    for path in (home / "nbs").rglob("*.ipynb"):  # what the test sees is what it ran
        nb = nbformat.read(path, as_version=4)
        nb.metadata.pop("widgets", None)
        for cell in nb.cells:
            if cell.cell_type == "code":
                cell.outputs = []
        nbformat.write(nb, path)
    for name, values in SETTINGS.items():
        file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(values))
    own = {
        "JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings", "JUPYTERLAB_WORKSPACES_DIR": "workspaces", "IPYTHONDIR": "ipython",
    }
    env = os.environ | {key: str(home / folder) for key, folder in own.items()} | {"PYTHONPATH": str(home)}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    token = secrets.token_hex(16)
    options = [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={home / 'nbs'}",
               "--ServerApp.open_browser=False", "--ServerApp.allow_root=True", "--LabApp.expose_app_in_browser=True"]
    with open(home / "server.log", "w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyterlab", *options], cwd=home, env=env,
                                  stdout=log, stderr=subprocess.STDOUT)
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: get(f"{url}/api/status", token), 60, "starting JupyterLab")
            yield url, token
        finally:
            server.terminate()
            server.wait(timeout=30)


FEW = ("index", "book/01_jensen", "figures", "widgets")  # at the top and in a folder, with players and with figures that compute
NOTEBOOKS = [name for name in map(name_of, chapters()) if name.startswith("book/") or name in FEW]


def run_all(browser, lab, name):
    "A notebook in JupyterLab after its cells have run without a fault: the page, and the notebook in it."
    url, token = lab
    context = browser.new_context(viewport={"width": 1300, "height": 900})
    page = context.new_page()
    page.set_default_timeout(60_000)
    page.goto(f"{url}/lab/tree/{name}.ipynb?reset&token={token}")

    def idle():
        kernels = [session["kernel"] for session in sessions(lab, name)]
        return kernels and all(kernel["execution_state"] == "idle" for kernel in kernels)

    wait_until(idle, 120, "starting the kernel")
    assert page.evaluate("() => window.jupyterapp.commands.execute('notebook:run-all-cells')"), "a cell failed"
    wait_until(idle, 180, "running the notebook")
    notebook = page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")
    errors = notebook.locator(", ".join(f'[data-mime-type="application/vnd.jupyter.{kind}"]' for kind in ("error", "stderr")))
    assert errors.all_inner_texts() == []
    assert notebook.locator("mjx-merror, [data-mml-node=merror]").all_inner_texts() == []
    code = [cell for cell in nbformat.read(NBS / f"{name}.ipynb", as_version=4).cells if cell.cell_type == "code"]
    prompts = [text for text in notebook.locator(".jp-CodeCell .jp-InputPrompt").all_inner_texts() if text != "[ ]:"]
    assert len(prompts) == len(code)
    return page, notebook


def sessions(lab, name):
    return [session for session in get(f"{lab[0]}/api/sessions", lab[1]) if session["path"] == f"{name}.ipynb"]


def close(page, lab, name):
    "Close a notebook and end its kernel, which would go on holding memory."
    page.context.close()
    url, token = lab
    for session in sessions(lab, name):
        request = urllib.request.Request(f"{url}/api/sessions/{session['id']}", method="DELETE", headers={"Authorization": f"token {token}"})
        urllib.request.urlopen(request, timeout=20).close()


def pytest_generate_tests(metafunc):
    "All lessons with `--lessons`, else a few notebooks. Two servers where there are workers for both; a notebook runs once."
    if "name" in metafunc.fixturenames:
        names = NOTEBOOKS if metafunc.config.getoption("--lessons") else FEW
        metafunc.parametrize("name", [pytest.param(name, marks=pytest.mark.xdist_group(f"lab {i % 2}")) for i, name in enumerate(names)])


def test_notebook_runs_and_its_figures_move(browser, lab, name):
    page, notebook = run_all(browser, lab, name)
    for player in notebook.locator(".em-player").all():
        player.scroll_into_view_if_needed()
        frame = player.locator("img.em-frame")
        player.locator("input[type=range]").focus()
        page.keyboard.press("Home")
        before = frame.get_attribute("src")
        page.keyboard.press("ArrowRight")
        page.wait_for_function("([image, src]) => image.src !== src", arg=[frame.element_handle(), before])
    for figure in notebook.locator(".em-live").all():
        figure.scroll_into_view_if_needed()
        before = figure.locator(".em-numbers").inner_text()
        figure.locator(".em-handle[role=slider]").first.focus()
        page.keyboard.press("Shift+ArrowDown")  # also a shortcut of the lab
        page.wait_for_function("([node, text]) => node.innerText !== text", arg=[figure.locator(".em-numbers").element_handle(), before])
    if notebook.locator(".em-live").count():  # they take the lab's theme
        page.evaluate("() => window.jupyterapp.commands.execute('apputils:change-theme', { theme: 'JupyterLab Dark' })")
        page.wait_for_function("() => document.querySelector('.em-live').hasAttribute('data-dark')")
    close(page, lab, name)
