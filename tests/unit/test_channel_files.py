"""Files that a person names: whatever is in them, the error is one line that names the file."""

from pathlib import Path

import pytest

from airsplit.errors import InputError
from channel_emulator import files
from channel_emulator.files import read_text, read_toml
from channel_emulator.scenario import load_scenario
from channel_emulator.spec import parse_channel
from channel_emulator.start import parse_start
from channel_emulator.traces import read_rate_trace, read_samples

READERS = {
    "channel": lambda path: parse_channel(str(path)),
    "start": lambda path: parse_start(f"{path},loss=0.1"),
    "scenario": load_scenario,
    "link": read_rate_trace,
    "samples": read_samples,
}
OF_TOML = ["channel", "start", "scenario"]


def refusal(reader: str, path: Path) -> str:
    with pytest.raises(InputError) as caught:
        READERS[reader](path)
    line = str(caught.value)
    assert "\n" not in line
    assert path.stem in line
    assert len(line) < 400
    return line


@pytest.mark.parametrize("reader", OF_TOML)
@pytest.mark.parametrize(
    "text",
    [
        "x=" + "[" * 100_000,
        "m=" + "[" * 100_000 + "]" * 100_000,
        "m=" + "[" * 40 + "]" * 40,
        "m." + "a." * 2000 + "a=1",
        "x=[" + "{a=" * 100_000,
    ],
)
def test_what_is_nested_too_deep_is_refused(tmp_path, reader, text):
    path = tmp_path / "deep.toml"
    path.write_text('preset = "nakagami"\n' + text)
    assert "is not TOML" in refusal(reader, path)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_too_long_is_not_read(tmp_path, monkeypatch, reader):
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 20)
    path = tmp_path / "long.toml"
    path.write_text('preset = "awgn"     #')
    assert "size: 'more' is not allowed; allowed: at most" in refusal(reader, path)


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_text_is_refused(tmp_path, reader):
    path = tmp_path / "bytes.toml"
    path.write_bytes(b"\xff")
    assert "is not text" in refusal(reader, path)
    assert "cannot be read: No such file" in refusal(reader, tmp_path / "none.toml")
    path.unlink()
    path.mkdir()
    assert "cannot be read: Is a directory" in refusal(reader, path)


def test_no_name_of_a_file():
    with pytest.raises(InputError, match=r"channel: 'a\\x00.toml' cannot be read"):
        read_text("channel", Path("a\0.toml"))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbfm = [[1]]")
    assert read_toml("channel", path) == {"m": [[1]]}
