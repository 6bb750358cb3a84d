"""What is in the images, and what is not."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.e2e.compose_project import ROOT, TAG, docker

pytestmark = pytest.mark.compose

SERVICES = ("controller", "edge", "channel", "ue")
COMPILERS = ("cc", "gcc", "g++", "clang", "ld", "as", "make", "rustc", "nvcc")
CACHES = ("/root/.cache", "/tmp/.cache", "/var/cache/pip")  # noqa: S108 - of the image
SECRET = re.compile(r"token|secret|password|credential|index_url|find_links", re.IGNORECASE)


def shell(service: str, script: str, *, root: bool = False) -> str:
    """Output of a script in the image; `root` sees all of its files."""
    image = f"airsplit-{service}:{TAG}"
    user = ["--user=0"] if root else []
    run = ["run", "--rm", "--read-only", "--network=none", *user, "--entrypoint=sh", image]
    return docker(*run, "-c", script)


def inspect(service: str) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", f"airsplit-{service}:{TAG}"))
    assert isinstance(found, dict)
    return found


def test_they_differ_in_next_to_nothing() -> None:
    """One host holds little more than one image."""
    layers = {service: inspect(service)["RootFS"]["Layers"] for service in SERVICES}
    assert layers["edge"] == layers["channel"] == layers["controller"] == layers["ue"]
    sizes = [inspect(service)["Size"] for service in SERVICES]
    assert max(sizes) - min(sizes) < 1 << 20


def test_they_run_as_nobody_in_particular() -> None:
    assert shell("edge", "id -u; id -g").split() == ["10001", "10001"]
    assert (
        shell("edge", "touch /models/x 2>&1 || true; ls -ld /models /reports").count("airsplit")
        == 4
    )


def test_the_kernels_are_compiled_already() -> None:
    """A start compiles nothing: numba finds what the build left."""
    image = f"airsplit-channel:{TAG}"
    script = "import channel_emulator.__main__"
    said = docker(
        *("run", "--rm", "--read-only", "--tmpfs", "/tmp", "-e", "NUMBA_DEBUG_CACHE=1"),  # noqa: S108
        *("--entrypoint", "start", image, "python", "-c", script),
    )
    assert "data loaded" in said
    assert "data saved" not in said


def test_no_compiler() -> None:
    script = f"for c in {' '.join(COMPILERS)}; do command -v $c; done; true"
    assert shell("edge", script) == ""


def test_no_cache_and_no_wheel() -> None:
    """In what we add to the base."""
    ours = "/opt/venv /opt/airsplit /models /reports"
    assert shell("edge", f"ls -d {' '.join(CACHES)} 2>/dev/null; true", root=True) == ""
    assert shell("edge", f"find {ours} -name '*.whl' -o -name '*.tar.gz' -size +1M") == ""
    assert shell("edge", "ls /build /wheels 2>/dev/null; true") == ""
    assert shell("edge", "python -m pip --version 2>&1; true").endswith("No module named pip")


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret(service: str) -> None:
    config = inspect(service)["Config"]
    names = [variable.partition("=")[0] for variable in config["Env"]]
    base = {"PIP_FIND_LINKS"}  # a base image may bring pip's settings
    assert [name for name in names if SECRET.search(name) and name not in base] == []
    history = docker(
        "history", "--no-trunc", "--format", "{{.CreatedBy}}", f"airsplit-{service}:{TAG}"
    )
    assert not re.search("INDEX_URL=.|HF_TOKEN", history)
    assert shell(service, "find / -xdev -name '.env*'", root=True) == ""


def test_versions_are_the_pinned_ones() -> None:
    script = (
        "import importlib.metadata as metadata, json; "
        "print(json.dumps({d.name: d.version for d in metadata.distributions()}))"
    )
    found = json.loads(shell("edge", f"python -c '{script}'"))
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line and not line.startswith("#")
    )
    normal = {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in pins.items()}
    for name, version in found.items():
        key = re.sub(r"[-_.]+", "-", name).lower()
        if key == "airsplit" or key.startswith(("nvidia-", "triton", "cuda")):
            continue
        assert version.partition("+")[0] == normal[key], name


@pytest.mark.parametrize("service", ["edge", "channel", "controller"])
def test_a_service_has_a_health_check(service: str) -> None:
    check = inspect(service)["Config"]["Healthcheck"]["Test"]
    assert check[:4] == ["CMD", "python", "-m", "airsplit.health"]
