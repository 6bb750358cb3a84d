"""Every combination of files that README and docs/deployment.md name is clean."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.compose_project import ROOT, Project, clean_environment, compose

pytestmark = pytest.mark.compose

DOCUMENTS = ("README.md", "docs/deployment.md")
ADDRESSES = {"CONTROLLER_ADDRESS": "10.0.0.3:50053", "CHANNEL_ADDRESS": "10.0.0.2:50052"}
ONE_HOST = ("docker-compose.yml",)
ROLES = (("docker/compose.edge.yml",), ("docker/compose.ue.yml",))
VARIABLE = re.compile(r"\$\{([A-Z_]+)")


def combinations() -> set[tuple[str, ...]]:
    """The `-f` of every `docker compose` command in the documents."""
    found: set[tuple[str, ...]] = set()
    for document in DOCUMENTS:
        for line in (ROOT / document).read_text(encoding="utf-8").splitlines():
            if "docker compose" not in line:
                continue
            command = line.partition("docker compose")[2].partition("#")[0].partition("`")[0]
            words = shlex.split(command, posix=True)
            pairs = itertools.pairwise(words)
            found.add(tuple(b for a, b in pairs if a == "-f" and b.endswith(".yml")))
    return found


def compose_files() -> list[Path]:
    return sorted([*ROOT.glob("docker-compose*.yml"), *(ROOT / "docker").glob("*.yml")])


def config(
    files: tuple[str, ...], *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        compose(files, "--profile", "*", "config", *arguments),
        cwd=ROOT,
        env=clean_environment({"AIRSPLIT_TAG": "latest", **environment}),
        capture_output=True,
        text=True,
        check=False,
    )


def services(files: tuple[str, ...], **environment: str) -> dict[str, Any]:
    """What would run, by service."""
    done = config(files, "--format", "json", **ADDRESSES, **environment)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)["services"]
    assert isinstance(found, dict)
    return found


def test_the_documents_name_every_file() -> None:
    named = {Path(file).name for files in combinations() for file in files} | {"docker-compose.yml"}
    roles = {file.name for file in compose_files()} - {"services.yml", "gpu.yml"}  # extended
    assert named == roles


@pytest.mark.parametrize("files", sorted(combinations()), ids=" ".join)
def test_a_combination_is_clean(files: tuple[str, ...]) -> None:
    done = config(files, **ADDRESSES)
    assert (done.returncode, done.stderr) == (0, "")
    assert "command:" in done.stdout or "AIRSPLIT_EDGE" in done.stdout


@pytest.mark.parametrize("file", ["docker/compose.edge.yml", "docker/compose.ue.yml"])
def test_a_missing_address_is_named(file: str) -> None:
    done = config((file,))
    assert done.returncode != 0
    assert "set it to the HOST:PORT of" in done.stderr


def test_the_example_has_every_variable_with_its_default() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    known = set(re.findall(r"^#?([A-Z_]+)=", example, re.MULTILINE))
    text = "".join(file.read_text(encoding="utf-8") for file in compose_files())
    used = set(VARIABLE.findall(text)) | set(
        re.findall(r"\b(?:HF|PIP|TORCH|PYTHON)_[A-Z_]+\b", text)
    )
    assert known == used
    # A copy must not undo the GPU files' own defaults.
    assert not re.search(r"^[A-Z_]+=", example, re.MULTILINE)
    found = re.findall(r"^#([A-Z_]+)=(.+)$", example, re.MULTILINE)
    values = {name: value for name, value in found if not name.endswith("_ADDRESS")}
    values |= {"BIND_ADDRESS": "0.0.0.0"}  # noqa: S104 - the documented default
    del values["HF_HUB_OFFLINE"], values["PYTHON_IMAGE"]
    plain = config(("docker-compose.yml",))
    assert plain.returncode == 0
    assert config(("docker-compose.yml",), **values).stdout == plain.stdout


def test_a_variable_changes_the_configuration() -> None:
    changes = {
        "MODEL": "/models/mine", "DTYPE": "bf16", "MODELS": "/srv/models", "UE_LAYERS": ":8",
        "EDGE_LAYERS": "2:", "SPLIT": "3", "POLICY": "fixed:3", "CHANNEL": "erasure,loss=0.25",
        "SEED": "77", "TRANSPORT_MS": "0.625", "MAX_SESSIONS": "5", "LOG_LEVEL": "debug",
        "AIRSPLIT_TAG": "v9", "EDGE_DEVICE": "cuda", "UE_DEVICE": "cuda:0",
        "TORCH_INDEX_URL": "https://index.example/cpu", "PYTHON_IMAGE": "mine:1",
        "HF_HUB_OFFLINE": "1", "EDGE_REPLICAS": "7", "CHANNEL_REPLICAS": "9",
    }  # fmt: skip
    before = config(("docker-compose.yml",)).stdout
    for name, value in changes.items():
        after = config(("docker-compose.yml",), **{name: value}).stdout
        shown = f"replicas: {value}" if name.endswith("_REPLICAS") else value
        assert shown in after, name
        assert after != before, name


@pytest.mark.parametrize("service", ["controller", "edge", "channel", "ue"])
def test_a_limit_is_its_services_own(service: str) -> None:
    before = services(ONE_HOST)
    name = service.upper()
    given = {f"{name}_CPUS": "1.5", f"{name}_MEMORY": "3g"}
    after = services(ONE_HOST, **given)
    limits = after[service]["deploy"]["resources"]["limits"]
    assert (float(limits["cpus"]), int(limits["memory"])) == (1.5, 3 << 30)
    assert {other for other in after if after[other] != before[other]} == {service}


@pytest.mark.parametrize("plain", [ONE_HOST, *ROLES], ids=" ".join)
def test_gpus_are_reserved_and_used(plain: tuple[str, ...]) -> None:
    (base,) = plain
    gpu = (base, base.replace(".yml", ".gpu.yml"))
    found = services(gpu, EDGE_GPU="1", UE_GPU="2")
    reserved = {
        name: service["deploy"]["resources"]["reservations"]["devices"]
        for name, service in found.items()
        if "reservations" in service["deploy"]["resources"]
    }
    devices = {
        name: [{"driver": "nvidia", "capabilities": ["gpu"], "device_ids": [index]}]
        for name, index in (("edge", "1"), ("ue", "2"))
        if name in found
    }
    assert reserved == devices
    assert "devices" not in json.dumps(services(plain))
    if "edge" in found:
        expected = {"--model=Qwen/Qwen3-8B", "--device=cuda", "--dtype=bf16"}
        assert expected <= set(found["edge"]["command"])
    if "ue" in found:
        environment = found["ue"]["environment"]
        names = ("AIRSPLIT_MODEL", "AIRSPLIT_DEVICE", "AIRSPLIT_DTYPE")
        assert [environment[n] for n in names] == ["Qwen/Qwen3-8B", "cuda", "bf16"]
    if "controller" in found:
        assert "--policy=threshold" in found["controller"]["command"], "not the embedded model's"
    given = {"MODEL": "mine/own", "DTYPE": "fp16", "EDGE_DEVICE": "cpu", "UE_DEVICE": "cpu"}
    changed = services(gpu, **given)
    for name in devices:
        said = json.dumps(changed[name])
        assert '"cuda"' not in said
        assert all(value in said for value in ("mine/own", "fp16", "cpu"))


@pytest.mark.parametrize("files", sorted(combinations()), ids=" ".join)
def test_a_hub_token_reaches_the_ends_that_fetch_models_alone(files: tuple[str, ...]) -> None:
    """And there their environment alone: no build argument, which an image would keep."""
    found = services(files or ONE_HOST, HF_TOKEN="hf_of-a-test")  # noqa: S106 - of no one
    holders = {name for name, service in found.items() if "hf_of-a-test" in json.dumps(service)}
    assert holders == {"edge", "ue"} & set(found)
    for name in holders:
        assert found[name]["environment"].pop("HF_TOKEN") == "hf_of-a-test"
        assert "hf_of-a-test" not in json.dumps(found[name])


def test_the_tests_read_no_configuration_of_a_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a shell's variables nor a `.env`."""
    shutil.copytree(ROOT / "docker", tmp_path / "docker")
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / ".env").write_text("MODEL=/models/from-a-file\n")
    for name, value in {"DTYPE": "bf16", "COMPOSE_PROJECT_NAME": "theirs"}.items():
        monkeypatch.setenv(name, value)
    read = subprocess.run(
        ["docker", "compose", "config"], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    theirs = ("/models/from-a-file", "bf16", "name: theirs")
    assert all(word in read for word in theirs), "they would be read"
    ours = Project("airsplit-test", ["docker-compose.yml"], root=tmp_path).run("config").stdout
    assert "name: airsplit-test" in ours
    assert not any(word in ours for word in theirs)
