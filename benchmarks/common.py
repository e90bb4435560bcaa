"""What every benchmark shares: fair calls, peak memory, tables."""
from __future__ import annotations
import argparse
import json
import os
import platform
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from statistics import median

RESULTS = Path(__file__).with_name("results.json")
PAUSE = 0.5 # seconds between calls: a peer's threads go on spinning for a while


def interleave(*calls, rounds: int = 3, pause: float = PAUSE, all_times: bool = False): # median (or all) seconds of each call, and what each returned last
    "Call a b a b, with a rest before each."
    times, out = [[] for _ in calls], [None] * len(calls)
    for _ in range(rounds):
        for i, call in enumerate(calls):
            time.sleep(pause)
            begin = time.perf_counter()
            out[i] = call()
            times[i].append(time.perf_counter() - begin)
    return times if all_times else [median(t) for t in times], out


def fastest(call, rounds: int = 7, pause: float = 0.0) -> float: # seconds
    "The best of some calls after one that does not count."
    call()
    return min(interleave(call, rounds=1, pause=pause)[0][0] for _ in range(rounds))


PEAK = """
import resource, sys
def peak():
    try: return int(next(l for l in open("/proc/self/status") if l.startswith("VmHWM")).split()[1]) / 1024
    except OSError: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2 ** 20 if sys.platform == "darwin" else 1024)
def reset():
    try: open("/proc/self/clear_refs", "w").write("5")
    except OSError: pass
    return peak()
"""


def peak_memory(setup: str, call: str, **env: str) -> float: # MB
    "How far the memory of a fresh process rises during `call` above what it holds after `setup`."
    code = PEAK + setup + f"\nbefore = reset()\n{call}\nprint(peak() - before)"
    root = str(Path(__file__).parent.parent)
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root, **env}, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def table(columns: list[str], rows: list[list]) -> str: # Markdown
    "Rows of a table."
    return "\n".join("| " + " | ".join(map(str, r)) + " |" for r in [columns, ["---"] * len(columns), *rows])


def seconds(t: float) -> str:
    "A time in the unit that suits it."
    return f"{t:.1f} s" if t >= 1 else f"{t * 1e3:.1f} ms" if t >= 0.1 else f"{t * 1e3:.2f} ms"


def machine() -> str:
    "The processor and the versions."
    import numba, numpy, scipy
    name = platform.processor() or platform.machine()
    try: name = next(l.split(":")[1].strip() for l in open("/proc/cpuinfo") if l.startswith("model name"))
    except (OSError, StopIteration): pass
    from em_notes.settings import cores
    peers = []
    for peer in ("scikit-learn", "hmmlearn", "scikit-learn-intelex", "dynamax", "jax", "pomegranate", "torch"):
        try: peers.append(f"{peer} {metadata.version(peer)}")
        except metadata.PackageNotFoundError: pass
    target = f" for {os.environ['NUMBA_CPU_NAME']}" if "NUMBA_CPU_NAME" in os.environ else ""
    return f"{name}, {cores()} cores; Python {platform.python_version()}, numpy {numpy.__version__}, scipy {scipy.__version__}, numba {numba.__version__}{target}, {', '.join(peers)}"


def save(name: str, sections: list[tuple[str, str]], titles: list[str]) -> None: # title and Markdown of each; all titles in order
    "Put tables of a benchmark into the file that the site shows, each in the place of the one with the same title and with the machine it ran on."
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    about = f"{machine()}; {time.strftime('%Y-%m-%d')}"
    kept = {section[0]: section for section in stored.get(name, [])} | {title: [title, text, about] for title, text in sections}
    stored[name] = [kept[t] for t in titles if t in kept]
    RESULTS.write_text(json.dumps(stored, indent=1, ensure_ascii=False) + "\n")


def run(benchmark: str, about: str, sections, argv: list[str] | None) -> None: # sections(quick) yields name, title, function that makes a table
    "The command line of a benchmark: make its tables, print and store them; a peer that is not installed is said."
    parser = argparse.ArgumentParser(description=about.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs; nothing is stored")
    parser.add_argument("--only", nargs="*", help="names of parts; the others stay as they are")
    a = parser.parse_args(argv)
    parts = list(sections(a.quick))
    titles = [title for _, title, _ in parts]
    for name, title, make in parts:
        if a.only and name not in a.only: continue
        try: text = make()
        except ImportError as e:
            print(f"\n### {title}\n\nNot run: {e.name} is not installed.", flush=True)
            continue
        print(f"\n### {title}\n\n{text}", flush=True)
        if not a.quick: save(benchmark, [(title, text)], titles)
