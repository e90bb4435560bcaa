"""The JavaScript that pages load, each library at one version, served from the site itself."""
import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.resources import files
from pathlib import Path

from .execute import BUILD

# What the pages load: npm package, version, the one file we need of it and this file's digest, as browsers check it. From
# npm where that is installed, so that the site works offline and from file://, else from the CDN. The full MathJax is
# what Quarto's pages load: it refuses what theirs refuse. It draws SVG: its fonts are paths within this file.
FRONT_END = {
    "mathjax": ("mathjax", "3.2.2", "es5/tex-svg-full.js",
                "sha384-4kE/rQ11E8xT9QgrCBTyvenkuPfQo8rXYQvJZuMgxyPOoUfpatjQPlgdv6V5yhUK"),
    "require": ("requirejs", "2.3.8", "require.js",
                "sha384-gzoQyNpzaOK+Aes9TTuBq/ZgYdleZUDN3sFwxyLRbRytLEWofprkKj2F7z3a6nTu"),
    "manager": ("@jupyter-widgets/html-manager", "1.0.15", "dist/embed-amd.js",
                "sha384-/x/n24gdFNkRW3aFeWPOJ5tgVI0ZmBOBu6UKswtJLAm6SIAzWBZUdrLEr5A9yXvL"),
    "lunr": ("lunr", "2.3.9", "lunr.min.js",
             "sha384-203J0SNzyqHby3iU6hzvzltrWi/M41wOP5Gu+BiJMz5nwKykbkUx8Kp7iti0Lpli"),
}


def integrity(
    content: bytes,
) -> str:  # "sha384-…"
    "The digest of a file, as the attribute of that name has it."
    return "sha384-" + base64.b64encode(hashlib.sha384(content).digest()).decode()


def front_end(
    out: Path,  # the site's folder
) -> dict[str, dict[str, str]]:  # library -> its address, and its digest where the file isn't ours
    "Put the libraries that pages load into `out/lib` and say where each is."
    lib = out / "lib"
    lib.mkdir(parents=True, exist_ok=True)
    # The widgets' own front end comes with the Python package, at the version that the notebooks ran with.
    shutil.copy(str(files("anywidget") / "nbextension" / "index.js"), lib / "anywidget.js")
    npm, libraries = shutil.which("npm"), {}
    for name, (package, version, file, digest) in FRONT_END.items():
        kept = BUILD / "npm" / f"{package.split('/')[-1]}-{version}-{Path(file).name}"
        if npm and not kept.exists():
            fetch(npm, package, version, file, kept)
        if kept.exists():
            if (found := integrity(kept.read_bytes())) != digest:
                raise SystemExit(f"{kept} isn't the file that tools/libraries.py expects: its digest is {found}, not {digest}. Delete it.")
            libraries[name] = {"src": f"lib/{Path(file).name}"}
            shutil.copy(kept, out / libraries[name]["src"])
        else:
            libraries[name] = {"src": f"https://cdn.jsdelivr.net/npm/{package}@{version}/{file}", "integrity": digest}
    return libraries


def fetch(
    npm: str,  # the program
    package: str,
    version: str,
    file: str,  # path within the package
    kept: Path,  # where to put it
):
    "Take one file out of an npm package, without its dependencies; leave nothing if npm fails."
    print(f"  getting {package} {version} from npm", flush=True)
    with tempfile.TemporaryDirectory() as tmp:
        command = [npm, "pack", "--silent", f"{package}@{version}"]
        done = subprocess.run(command, cwd=tmp, capture_output=True, text=True)
        if done.returncode:
            print(f"  npm failed; the pages will load {package} from the CDN:\n{done.stderr.strip()}", file=sys.stderr)
            return
        with tarfile.open(next(Path(tmp).glob("*.tgz"))) as archive:
            source = archive.extractfile(f"package/{file}").read()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(source)
