"""Generates airsplit/v1 from proto/; with --check compares instead and exits 1 on a difference."""

from __future__ import annotations

import argparse
import filecmp
import sys
import sysconfig
import tempfile
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
PROTO = ROOT / "proto"
GENERATED = Path("airsplit/v1")
# By its path, since this interpreter's environment need not be the activated one.
MYPY_GRPC = Path(sysconfig.get_path("scripts")) / "protoc-gen-mypy_grpc"


def generate(out: Path) -> None:
    """Writes the generated modules under `out`/airsplit/v1."""
    (out / GENERATED).mkdir(parents=True, exist_ok=True)
    sources = sorted(str(path) for path in PROTO.rglob("*.proto"))
    flags = [f"--{flag}_out={out}" for flag in ("python", "pyi", "grpc_python", "mypy_grpc")]
    plugin = f"--plugin=protoc-gen-mypy_grpc={MYPY_GRPC}"
    status = protoc.main(["protoc", f"-I{PROTO}", plugin, *flags, *sources])
    if status:
        raise SystemExit(f"protoc failed with status {status}")


def differences(fresh: Path, committed: Path) -> list[str]:
    """Names of generated files that are missing, extra or different."""
    names = {p.name for p in fresh.iterdir()} | {
        p.name for p in committed.iterdir() if "_pb2" in p.name
    }
    _, mismatch, missing = filecmp.cmpfiles(fresh, committed, sorted(names), shallow=False)
    return mismatch + missing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, write nothing")
    if not parser.parse_args().check:
        generate(ROOT)
        return
    with tempfile.TemporaryDirectory() as folder:
        generate(Path(folder))
        stale = differences(Path(folder) / GENERATED, ROOT / GENERATED)
    if stale:
        print(f"generated code differs from proto/: {', '.join(stale)}; run `make proto`")
        sys.exit(1)


if __name__ == "__main__":
    main()
