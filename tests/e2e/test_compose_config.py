"""Every combination of files that README and docs/deployment.md name is clean."""

from __future__ import annotations

import itertools
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.compose_project import ROOT, Project, clean_environment, compose

pytestmark = pytest.mark.compose

DOCUMENTS = ("README.md", "docs/deployment.md")
ADDRESSES = {"CONTROLLER_ADDRESS": "10.0.0.3:50053", "CHANNEL_ADDRESS": "10.0.0.2:50052"}
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


def config(files: tuple[str, ...], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        compose(files, "--profile", "*", "config"),
        cwd=ROOT,
        env=clean_environment({"AIRSPLIT_TAG": "latest", **environment}),
        capture_output=True,
        text=True,
        check=False,
    )


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
        "SEED": "77", "EDGE_MEMORY": "3g", "EDGE_CPUS": "1.5", "MAX_SESSIONS": "5",
        "LOG_LEVEL": "debug", "AIRSPLIT_TAG": "v9", "EDGE_DEVICE": "cuda:1", "UE_DEVICE": "cuda:2",
        "TORCH_INDEX_URL": "https://index.example/cpu", "PYTHON_IMAGE": "mine:1",
        "HF_HUB_OFFLINE": "1", "EDGE_REPLICAS": "7", "CHANNEL_REPLICAS": "9",
    }  # fmt: skip
    before = config(("docker-compose.yml",)).stdout
    for name, value in changes.items():
        after = config(("docker-compose.yml",), **{name: value}).stdout
        shown = {"EDGE_MEMORY": str(3 << 30)}.get(name, value)
        shown = f"replicas: {value}" if name.endswith("_REPLICAS") else shown
        assert shown in after, name
        assert after != before, name


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
