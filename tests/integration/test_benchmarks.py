"""Benchmarks run where there is no accelerator: what they print is there, speeds are not judged."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def run(script: str, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, f"benchmarks/{script}.py", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    last = ("\n" + done.stdout).rpartition("\n{")[2]
    found: dict[str, Any] = json.loads("{" + last)
    return found


def test_the_gpu_benchmark_on_a_cpu() -> None:
    # The rate comes from the difference of two timed runs: of 5 tokens it has been negative.
    size = ["--prompt", "150", "--tokens", "40", "--rounds", "1", "--split", "1"]
    found = run("gpu", "--shape", "tiny", "--device", "cpu", *size, "--json")
    assert found["tokens_equal"] is True
    assert found["split_layer"] == 1
    assert set(found["decode_stages_ms"]) >= {"ue", "edge", "transport", "total"}
    assert found["prefill_stages_ms"]["edge"] > 0 < found["prefill_stages_ms"]["ue"]
    for name in ("split", "unsplit"):
        assert found[name]["decode_tokens_per_second"] > 0
        assert found[name]["prefill_ms"] > 0


def test_the_channel_benchmark() -> None:
    size = ["--sizes", "4096,8192", "--blocks", "1", "--seconds", "0.02"]
    found = run("channel", *size, "--frames", "10", "--chunks", "4", "--json")
    for kind in ("awgn", "token_fading", "element_fading"):
        for measure in ("elements_per_second", "elements_per_cpu_second"):
            by_size = found[measure][kind]
            assert list(by_size) == ["4096", "8192"]
            for rates in by_size.values():
                assert min(rates["ours"], rates["numpy"]) > 1e4
        assert set(found["elements_per_cpu_second"][kind]["4096"]) <= {"ours", "numpy", "sionna"}
        for elements in ("4096", "8192"):
            rates, scaling = (
                found[measure][kind][elements]
                for measure in ("elements_per_second", "two_thread_scaling")
            )
            assert scaling["ours"] == round(rates["ours_2_threads"] / rates["ours"], 2)
    ways = {"blind", "ideal", "impaired"}
    assert set(found["proxy_added_us"]) == ways
    assert set(found["proxy_gbit_per_second"]) == ways | {"direct"}
    assert min(found["proxy_gbit_per_second"].values()) > 0
    assert found["configuration"]["seed"] == 1


def test_the_pacing_benchmark() -> None:
    found = run("pacing", "--sessions", "5", "--seconds", "0.5", "--frames", "20")
    assert set(found["lane"]) == {"precise", "event loop"}
    calibrated = found["calibrated"]
    through = (found[name] for name in ("socket", "socket_ideal", "hop", "calibrated"))
    errors = (found["link"][name]["error_ms"] for name in ("rate", "delay"))
    for figures in (*found["lane"].values(), *through, calibrated["absolute"], *errors):
        assert figures["frames"] >= 20
        assert figures["p50"] <= figures["p90"] <= figures["p99"] <= figures["max"]
    assert found["lane"]["precise"]["p50"] >= 0, "none is delivered before it is due"
    compared = {"rate": {"rate_mbps": 50}, "delay": {"delay_ms": 8, "jitter_ms": 2}}
    for kind, knobs in compared.items():
        for name, configured in knobs.items():
            assert found["link"][kind][name]["configured"] == configured
            assert found["link"][kind][name]["measured"] > 0
    late_ms = found["socket"]["p50"]
    assert found["link"]["delay"]["error_ms"]["p50"] == late_ms >= 0
    assert calibrated["transport_ms"] == late_ms
    assert calibrated["absolute"]["max"] >= calibrated["max"]
    for name, configured in compared["delay"].items():
        assert calibrated[name]["configured"] == configured
        assert calibrated[name]["measured"] > 0


def test_the_benchmark_of_collection() -> None:
    size = ["--window", "16", "--windows", "2", "--rounds", "1", "--rounds-fp32", "0"]
    found = run("collect", *size, "--dtype", "fp32", "--no-compile", "--json")
    plain, ours = found["plain_rounds"], found["collect_rounds"]
    assert len(plain) == len(ours) == found["rounds"] == found["rounds_fp32"] == 1
    assert found["speedup"] == pytest.approx(plain[0] / ours[0], rel=0.01)
    assert found["speedup"] == found["speedup_least"] == found["speedup_fp32"]
    assert min(found["speedup_one_worker"], found["start_seconds"]) > 0
    assert found["records"] == 8 * 17
    assert found["max_nll_difference"] < 1e-4
    assert (found["dtype"], found["compile"]) == ("fp32", False)


def test_the_benchmark_of_learning() -> None:
    found = run("learning", "--steps", "400", "--json")
    assert min(found["env_speedup"], found["train_speedup"]) > 0
    assert found["train_steps"] == {"ours": 400, "plain": 400}
    assert found["return_ratio"] > 0
