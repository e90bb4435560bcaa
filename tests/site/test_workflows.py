"""What runs on GitHub: pinned by hash, with no more rights than it needs; and what `make oldest` installs."""
import re

import pytest
import yaml

from tools.execute import ROOT
from tools.oldest import constraints

WORKFLOWS = {path.name: yaml.safe_load(path.read_text(encoding="utf-8")) for path in (ROOT / ".github" / "workflows").glob("*.yml")}
JOBS = {f"{file} {name}": (flow, job) for file, flow in WORKFLOWS.items() for name, job in flow["jobs"].items()}


def test_actions_are_pinned_by_hash_and_say_their_version():
    used = [line for path in (ROOT / ".github").rglob("*.yml") for line in path.read_text(encoding="utf-8").splitlines() if "uses:" in line]
    assert len(used) > 5
    for line in used:
        assert re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


@pytest.mark.parametrize("job", JOBS)
def test_a_job_that_runs_our_code_may_only_read(job):
    flow, job = JOBS[job]
    rights = job.get("permissions", flow.get("permissions"))
    assert rights is not None and "write" not in rights
    writes = {name for name, right in rights.items() if right == "write"}
    assert not (writes and any("run" in step or "actions/checkout" in step.get("uses", "") for step in job["steps"]))
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


def test_only_the_job_that_publishes_may_publish():
    may = {name for name, (flow, job) in JOBS.items() if "id-token" in job.get("permissions", flow.get("permissions"))}
    assert may == {"docs.yml deploy"}


def test_what_is_published_is_what_was_tested():
    steps = WORKFLOWS["docs.yml"]["jobs"]["build"]["steps"]
    commands = [step.get("run") or step.get("uses", "").split("@")[0] for step in steps]
    made, tested, uploaded = (commands.index(c) for c in ("make book", "make pages SITE=_docs", "actions/upload-pages-artifact"))
    assert made < tested < uploaded == len(steps) - 1
    assert steps[tested]["env"]["EM_NOTES_REQUIRE_BROWSER"] == "1" and steps[uploaded]["with"]["path"] == "_docs"


def test_the_oldest_versions_are_the_lower_bounds():
    assert constraints("numpy>=1.26 nbdev>=2.4.14,<3 pyright[nodejs]>=1.1") == ["numpy==1.26", "nbdev==2.4.14", "pyright==1.1"]
    with pytest.raises(ValueError, match="scipy in settings.ini has no lower bound"):
        constraints("numpy>=1.26 scipy")
