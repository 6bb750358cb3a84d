"""Recorded radios: what the readers make of them, and what they say of a line that is wrong."""

import math
from pathlib import Path

import numpy as np
import pytest

from airsplit.errors import InputError
from channel_emulator import files, traces
from channel_emulator.traces import (
    CQI_EFFICIENCY,
    cqi_to_snr_db,
    parse_mahimahi,
    parse_samples,
    read_rate_trace,
    read_samples,
)

LOG = """\
Timestamp,Speed,SNR,CQI,DL_bitrate,note
2020.01.01_10.00.00,36,-,15,5000,a
2020.01.01_10.00.01,18,12.5,-,2500,b
2020.01.01_10.00.02,0,,7,0,"c, d"
2020.01.01_10.00.03,0,-3,1,100,e
"""


def test_mahimahi():
    trace = parse_mahimahi("up", "1\n3\n3\n\n10\n")
    assert trace.stepwise
    assert trace.time_ns.tolist() == [0, 1_000_000, 3_000_000, 10_000_000]
    assert trace.bits.tolist() == [0, 12_000, 36_000, 48_000]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("1\n-2\n", "up, line 2: '-2' .*whole millisecond in \\[1, "),
        ("5\n4\n", "up, line 2: '4' .*\\[5, "),
        ("1\n2.5\n", "up, line 2: '2.5'"),
        ("1\n\n²\n", "up, line 3"),
        ("1\n99999999999999\n", "up, line 2"),
        ("0\n0\n", "no line is above 0"),
    ],
)
def test_mahimahi_errors(text, named):
    with pytest.raises(InputError, match=named) as raised:
        parse_mahimahi("up", text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("text", ["10 4\n11 8\n13 0.5\n", "10,4\n11, 8\n13,0.5\n"])
def test_seconds_and_rates(text):
    samples = parse_samples("walk", text)
    assert samples.time_s.tolist() == [0, 1, 3, 5]  # the last one lasts as the one before it
    assert samples.values.tolist() == [4, 8, 0.5]
    assert (samples.knob, samples.period_s) == ("rate_mbps", 5)


def test_a_rates_file_is_a_link(tmp_path):
    path = tmp_path / "walk.txt"
    path.write_text("0 4\n1 8\n3 0.5\n")
    trace = read_rate_trace(path)
    assert not trace.stepwise
    assert trace.bits.tolist() == [0, 4_000_000, 20_000_000, 21_000_000]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("0 1\n0 2\n", "f, line 2: '0' .*\\[1e-06, "),
        ("0 1\n1 -2\n", "f, line 2: '-2' .*\\[0, 1e\\+06\\]"),
        ("0 1\n1 nan\n", "f, line 2: 'nan'"),
        ("0 1\n1\n", "f, line 2: '1' .*two numbers"),
        ("0 1\n1 x\n", "f, line 2: 'x'"),
        ("1 2 3\n", "f, line 1"),
        ("5\n6\n", "f, line 1"),
        ("\n \n", "f: is empty"),
    ],
)
def test_seconds_and_rates_errors(text, named):
    with pytest.raises(InputError, match=named):
        parse_samples("f", text)


def test_a_missing_value_holds_the_last_one():
    assert parse_samples("log", LOG, "SNR").values.tolist() == [12.5, 12.5, 12.5, -3]
    cqi = parse_samples("log", LOG, "CQI").values
    assert cqi.tolist() == [cqi_to_snr_db(n) for n in (15, 15, 7, 1)]


@pytest.mark.parametrize(
    ("column", "knob", "first"),
    [
        ("SNR", "snr_db", 12.5),
        ("CQI", "snr_db", cqi_to_snr_db(15)),
        ("Speed", "speed_mps", 10),
        ("DL_bitrate", "rate_mbps", 5),
    ],
)
def test_a_column_is_read_in_its_unit_once_a_second(column, knob, first):
    samples = parse_samples("log", LOG, column)
    assert samples.knob == knob
    assert samples.values[0] == pytest.approx(first)
    assert samples.time_s.tolist() == [0, 1, 2, 3, 4]


def test_throughputs_go_by_their_unit():
    text = "a_mbps,b_kbps,c\n3,4000,5\n"
    read = {column: parse_samples("t", text, column) for column in ("a_mbps", "b_kbps", "c")}
    assert {column: s.values[0] for column, s in read.items()} == {"a_mbps": 3, "b_kbps": 4, "c": 5}
    assert [s.knob for s in read.values()] == ["rate_mbps", "rate_mbps", None]


def test_a_time_column_says_when():
    samples = parse_samples("t", "SNR,time_s\n1,4\n2,4.5\n3,6\n", "SNR")
    assert samples.time_s.tolist() == [0, 0.5, 2, 3.5]


@pytest.mark.parametrize(
    ("text", "column", "named"),
    [
        (LOG, "RSRP", "log: column: 'RSRP' .*: Speed, SNR, CQI, DL_bitrate, or another name"),
        (LOG, None, "log: --column, or column in a scenario, is missing; allowed: Speed, SNR,"),
        (LOG, "note", "log, line 2: note: 'a'"),
        (LOG + "x,1,400,1,1,f\n", "SNR", "log, line 6: SNR: '400' .*\\[-100, 100\\]"),
        (LOG + "x,1,4,16,1,f\n", "CQI", "log, line 6: CQI: '16' .*\\[1, 15\\]"),
        (LOG + "x,1,4,2.5,1,f\n", "CQI", "log, line 6: CQI: '2.5'"),
        (LOG + "x,1,4\n", "SNR", "log, line 6: '3 fields' .*6, as in"),
        (LOG + 'x,1,"4\n', "SNR", "log, line 6: .*CSV"),
        ("SNR\n-\n", "SNR", "no value"),
        ("SNR\n", "SNR", "no value"),
        ("SNR,SNR\n1,2\n", "SNR", "column"),
        ("0 1\n", "SNR", "no header"),
    ],
)
def test_csv_errors(text, column, named):
    with pytest.raises(InputError, match=named) as raised:
        parse_samples("log", text, column)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("column", [None, "SNR"])
@pytest.mark.parametrize(
    "text",
    [
        "a long line of something else " * 30,
        "one,of,many,words," * 30,
        "x_mbps" * 30 + ",\x1b[31m_mbps\n",
        ",".join(f"{n}_mbps" for n in range(300)),
        "1 2 3 " * 100,
        "7\n" + "secret " * 100,
        "1 2\n" + "secret " * 100,
        "1 2\n2 " + "secret" * 100,
        "SNR\n" + "secret" * 100,
        "CQI,SNR\n1," + "9" * 300,
    ],
)
def test_a_foreign_files_own_text_is_shortened(tmp_path, text, column):
    path = tmp_path / "foreign"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_rate_trace(path, column)
    line = str(caught.value)
    assert len(line) < 300
    assert line.isprintable()
    assert line.count("secret") <= 7


def test_cqi_is_shannon_inverted():
    assert [cqi_to_snr_db(n) for n in (1, 7, 15)] == pytest.approx([-9.53, 2.51, 16.63], abs=0.01)
    for cqi, efficiency in enumerate(CQI_EFFICIENCY, 1):
        assert math.log2(1 + 10 ** (cqi_to_snr_db(cqi) / 10)) == pytest.approx(efficiency)


def test_files_that_are_none(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_samples(tmp_path / "none.csv")
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        read_samples(tmp_path)
    path = tmp_path / "f"
    path.write_bytes(b"\xff\xfe1\n")
    with pytest.raises(InputError, match="is not text"):
        read_samples(path)
    path.write_text("1\n2\n")
    with pytest.raises(InputError, match="one column"):
        read_rate_trace(path, "SNR")
    path.write_text(LOG)
    with pytest.raises(InputError, match=r"column: 'SNR' .*a rate"):
        read_rate_trace(path, "SNR")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    with pytest.raises(InputError, match="size"):
        read_samples(path, "SNR")
    monkeypatch.setattr(traces, "MAX_POINTS", 3)
    with pytest.raises(InputError, match=r"log: lines: 4 .*at most 3"):
        parse_samples("log", LOG, "SNR")


EXAMPLES = Path(__file__).parents[2].parent / "shared" / "data" / "traces"


@pytest.mark.skipif(not EXAMPLES.is_dir(), reason="no recorded traces beside the repository")
def test_recorded_traces_can_be_read():
    links = [
        ("mahimahi-ATT-LTE-driving.up", None),
        ("lumos5g-walking-54.txt", None),
        ("5gophers-walking.csv", "throughput_mbps"),
        ("ucc5g-driving.csv", "UL_bitrate"),
    ]
    for name, column in links:
        assert read_rate_trace(EXAMPLES / name, column).mean_rate_mbps > 0
    lines = (EXAMPLES / "mahimahi-ATT-LTE-driving.up").read_text().split()
    assert read_rate_trace(EXAMPLES / links[0][0]).period_bits == 12_000 * len(lines)
    snr = read_samples(EXAMPLES / "ucc5g-driving.csv", "SNR")
    cqi = read_samples(EXAMPLES / "ucc5g-driving.csv", "CQI")
    assert np.corrcoef(snr.values, cqi.values)[0, 1] > 0.5
