"""The table and figures on tiny sizes; resuming; what each flag changes; bad input."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from airsplit.errors import InputError
from airsplit.layer_range import LayerRange
from cli.main import main
from controller.learning.cases import Case
from controller.learning.published import PublishedReward
from controller.learning.space import ChannelSpace
from controller.learning.surrogate import Surrogate
from controller.network import Mlp
from controller.policy import ModelId
from controller.table import PerplexityTable
from experiments.designs import erasure, fading
from experiments.records import Record, Subject
from experiments.reproduce import curves, fig3, fig6, fig7, horizon, measured, table3
from experiments.reproduce.config import (
    Context,
    ReproduceConfig,
    Setting,
    measured_setting,
    published_setting,
)
from experiments.reproduce.run import reproduce
from experiments.reproduce.trainings import Nearest, Source, Trained, Trainings
from experiments.sweep import SweepConfig
from tests.learning import published, small_table

TINY: dict[str, Any] = {"seeds": 2, "steps": 400, "workers": 1}


def authors_file(folder: Path) -> Path:
    """A network of the shape of the authors', with random weights."""
    from safetensors.numpy import save_file

    chance = np.random.default_rng(0)
    tensors = {}
    for layer, shape in ((0, (128, 2)), (2, (128, 128)), (4, (1, 128))):
        weight = chance.normal(size=shape) / shape[1] ** 0.5
        tensors[f"fc.{layer}.weight"] = weight.astype(np.float32)
        tensors[f"fc.{layer}.bias"] = np.zeros(shape[0], np.float32)
    path = folder / "authors.safetensors"
    save_file(tensors, path)
    return path


def small_surrogate(table: PerplexityTable) -> Surrogate:
    """Of the table's model and space; its answers are random."""
    chance = np.random.default_rng(1)
    sizes = ((8, 4), (1, 8))
    layers = tuple(
        (chance.normal(size=s).astype(np.float32), np.zeros(s[0], np.float32)) for s in sizes
    )
    space, splits = table.space, LayerRange(0, table.model.layers + 1)
    return Surrogate(table.model, space, splits, table.clean_nll, 0.3, 0.2, layers)


@pytest.fixture
def setting(tmp_path: Path) -> Setting:
    """A measured setting of six layers, with a surrogate."""
    table = small_table()
    table.save(tmp_path / "table.json")
    small_surrogate(table).save(tmp_path / "surrogate")
    return measured_setting("small", tmp_path / "table.json", {"sigma": tmp_path / "surrogate"})


def context_of(out: Path, *settings: Setting, **changes: Any) -> Context:
    lines: list[str] = []
    config = ReproduceConfig(out=out, **{**TINY, **changes})
    trainings = Trainings(out / "trainings", 1, lines.append)
    return Context(config, settings, trainings, lines.append)


def test_every_figure_of_the_authors_setting(tmp_path: Path) -> None:
    path = authors_file(tmp_path)
    targets = ("table3", "fig3", "fig5", "fig6", "fig7", "fig8", "fig9")
    config = ReproduceConfig(
        out=tmp_path / "out", targets=targets, reward=path, embedded=False, **TINY
    )
    found = reproduce(config, "airsplit reproduce", lambda line: None)
    out = config.out
    names = {file.name for file in out.iterdir()}
    for name in ("table3", "fig5", "fig6", "fig7", "fig8", "fig9"):
        assert {f"{name}-published.png", f"{name}-published.csv"} <= names
        assert (out / f"{name}-published.png").read_bytes().startswith(b"\x89PNG")
    assert {claim["verdict"] for claim in found["claims"]} <= {"seen", "not seen", "opposite"}
    figures = {claim["figure"] for claim in found["claims"]}
    assert figures == {"Table 3", "Fig. 5", "Fig. 6", "Fig. 7", "Fig. 8", "Fig. 9"}
    text = (out / "report.md").read_text()
    assert "2.9663" in text
    assert "J*" in text
    assert str(tmp_path) not in text
    page = (out / "report.html").read_text()
    assert page.count("data:image/png;base64,") == text.count(".png)") == 6
    with (out / "fig5-published.csv").open() as file:
        rows = list(csv.DictReader(file))
    lines = {"PPO", "A2C", "DQN", "PPO, our settings", "optimum", "random"}
    assert {row["line"] for row in rows} == lines
    assert all(float(row["low"]) <= float(row["mean_return"]) for row in rows if row["low"])
    assert sum(row["line"] == "optimum" for row in rows) == 3  # one a case


def test_what_is_trained_is_kept(setting: Setting, tmp_path: Path) -> None:
    context = context_of(tmp_path, setting)
    wanted = context.wanted(setting)
    (first,) = context.train("a", [wanted])
    folder = first[0].directory
    weights = (folder / "policy.safetensors").read_bytes()
    (folder / "policy.json").touch()
    stamp = (folder / "policy.json").stat().st_mtime_ns
    context.train("a", [wanted])
    assert (folder / "policy.json").stat().st_mtime_ns == stamp
    (folder / "policy.json").unlink()  # as a kill before its end leaves it
    (again,) = context.train("a", [wanted])
    assert (folder / "policy.safetensors").read_bytes() == weights
    assert again[0].returns.tolist() == first[0].returns.tolist()


def test_a_training_is_named_by_all_that_it_depends_on(setting: Setting, tmp_path: Path) -> None:
    def keys(**changes: Any) -> set[str]:
        return {one.key for one in context_of(tmp_path, setting).wanted(setting, **changes)}

    plain = keys()
    assert len(plain) == 2
    assert keys() == plain
    others: list[dict[str, Any]] = [
        {"algorithm": "a2c"}, {"preset": "best"}, {"changes": {"clip_range": 0.3}},
        {"case": Case.L}, {"max_move": 2}, {"surrogate": setting.surrogate},
    ]  # fmt: skip
    for other in others:
        assert not keys(**other) & plain, other
    longer = context_of(tmp_path, setting, steps=800).wanted(setting)
    assert not {one.key for one in longer} & plain
    table = small_table()
    louder = PerplexityTable(table.model, table.sigma, table.m, table.nll + 0.1, table.nll_se,
                             table.clean_nll, table.chance_nll)  # fmt: skip
    louder.save(tmp_path / "louder.json")
    assert not keys(reward=Source(tmp_path / "louder.json")) & plain


def test_learning_on_the_surrogate_is_scored_on_the_table(setting: Setting, tmp_path: Path) -> None:
    context = context_of(tmp_path, setting, steps=800)
    true, stand_in = context.train(
        "a", [context.wanted(setting), context.wanted(setting, surrogate=setting.surrogate)]
    )
    assert true[0].scores["optimal"] == stand_in[0].scores["optimal"]
    one, other = (group[0].policy.network.weights[0] for group in (true, stand_in))
    assert not np.array_equal(one, other)


def test_table_three_with_costs(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    costs = {
        "real": [{"step_seconds": s, "train_seconds": None, "peak_mb": 500.0} for s in (2.0, 2.2)],
        "surrogate": [
            {"step_seconds": 0.001, "train_seconds": 9.0, "peak_mb": mb} for mb in (300.0, 310.0)
        ],
    }
    measured_now: list[str] = []

    def instead(spec: dict[str, Any]) -> Any:
        measured_now.append(spec["kind"])
        return costs[spec["kind"]]

    monkeypatch.setattr("experiments.reproduce.cost.measured", instead)
    context = context_of(tmp_path, setting)
    for _ in range(2):
        result = table3.make(context)
    assert measured_now == ["real", "surrogate"]  # once, and kept
    seconds = table3.durations(costs, 400)
    assert seconds["with"] == [9.0, 9.0]
    assert seconds["without"] == pytest.approx([9 + 400 * 1.999, 9 + 400 * 2.199])
    rows = {row.what: row for row in result.rows}
    assert "extrapolated" in rows["small, measured: duration of 400 steps, without surrogate"].ours
    assert [claim.verdict for claim in result.claims[1:]] == ["seen", "seen"]


def test_costs_are_measured(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.reproduce import cost

    monkeypatch.setattr(cost, "SURROGATE_STEPS", 3)
    assert setting.surrogate is not None
    spec = {"kind": "surrogate", "path": str(setting.surrogate.path), "steps": 400}
    found = cost.cost(spec)
    assert 0 < found["step_seconds"] < found["train_seconds"]
    assert found["peak_mb"] > 10


def test_peak_memory_is_of_one_program() -> None:
    """Not of the one that started it, as getrusage has it."""
    here = np.ones(400 * 2**17)  # 400 MiB
    command = "from experiments.reproduce.cost import peak_mb; print(peak_mb())"
    done = subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, check=True
    )
    assert 10 < float(done.stdout) < here.nbytes / 2**20


def test_decisions_are_where_episodes_end(setting: Setting) -> None:
    reward, environment = setting.load(), setting.environment

    def upward(channels: Any, splits: Any, left: int) -> Any:
        return splits + 9

    _, splits = fig7._played(upward, reward, environment, 0)
    _, stay = fig7._played(lambda c, s, n: s, reward, environment, 0)
    np.testing.assert_array_equal(splits, np.minimum(stay + 5, 6))


def test_violins_know_five_strategies(setting: Setting, tmp_path: Path) -> None:
    (picture,) = fig6.make(context_of(tmp_path, setting)).pictures
    rows = list(csv.DictReader(picture.csv.splitlines()))
    strategies = {"trained", "trained, surrogate", "random", "untrained", "optimum"}
    assert set(rows[0]) == {"seed", "episode", *strategies}
    assert len(rows) == 2 * fig6.EPISODES
    means = {name: np.mean([float(row[name]) for row in rows]) for name in strategies}
    assert max(means, key=lambda name: means[name]) == "optimum"


def test_decisions_have_trends_slopes_and_shares(setting: Setting, tmp_path: Path) -> None:
    result = fig7.make(context_of(tmp_path, setting))
    rows = list(csv.DictReader(result.pictures[0].csv.splitlines()))
    lines = {"Table 4", "our settings", "optimum"}
    for line in lines:
        mine = [row for row in rows if row["line"] == line]
        decided = [row for row in mine if row["kind"] == "decision"]
        assert len(decided) == 2 * fig7.DECISIONS
        for kind in ("slope", "r2"):
            assert [row["seed"] for row in mine if row["kind"] == kind] == ["0", "1"]
        trend = [row for row in mine if row["kind"] == "loess"]
        assert all(float(row["low"]) <= float(row["high"]) for row in trend)
    first = [row for row in rows if (row["line"], row["seed"]) == ("optimum", "0")]
    x, p = (np.array([float(row[name]) for row in first if row["kind"] == "decision"])
            for name in ("value", "split"))  # fmt: skip
    (slope,) = (float(row["value"]) for row in first if row["kind"] == "slope")
    every = [float(row["value"]) for row in rows
             if (row["kind"], row["line"]) == ("decision", "optimum")]  # fmt: skip
    assert slope == pytest.approx(np.polyfit(x, p, 1)[0] * (max(every) - min(every)), rel=1e-4)


def test_a_direction_is_told_from_a_split(setting: Setting, tmp_path: Path) -> None:
    class Down:
        def next_splits(self, channels: Any, splits: Any) -> Any:
            return np.maximum(splits - 1, 0)

    class Never(Trained):
        policy = Down()  # type: ignore[assignment]

    group = [Never(tmp_path, {})] * 2
    assert horizon.moves_text(setting, Case.H, group) == "; moves −1/0/+1: 100/0/0 %"
    # Of case L's splits 0, 1 and 2 the first has nowhere to go.
    assert horizon.moves_text(setting, Case.L, group) == "; moves −1/0/+1: 67/33/0 %"


def test_an_aim_that_costs_nothing(setting: Setting) -> None:
    said = horizon.paragraph(setting)
    assert "Nowhere here is the aim the reason" in said
    aimed = horizon.row(setting, Case.H).ours.removeprefix("x ")
    assert 0.95 < float(aimed) <= 1
    assert f"{aimed} in case H" in said
    assert f"{float(aimed):.2f} (case H)." in horizon.reason(setting, Case.H)


def test_the_authors_aim_costs(tmp_path: Path) -> None:
    said = horizon.paragraph(published_setting(published(".safetensors")))
    assert "The aim itself costs in case H, A, released; elsewhere" in said


def scored(tmp_path: Path, **scores: Any) -> list[Any]:
    surrogate = replace(
        small_surrogate(small_table()), record={"records": 9, "channels": 3, "scores": scores}
    )
    surrogate.save(tmp_path / "scored")
    return table3._surrogate_rows(Source(tmp_path / "scored"))


def test_what_a_surrogate_is_held_to_is_shown(tmp_path: Path) -> None:
    test = {"mse": 0.01, "mae": 0.1, "mae_nll": 0.02, "mae_over_monte_carlo": 0.8, "r2": 0.96}
    linear = {"mae_nll": 0.03}
    rows = scored(
        tmp_path, test=test, test_unseen_splits={**test, "r2": 0.951}, baselines={"linear": linear}
    )
    assert "0.80 of the records' Monte-Carlo error; R² 0.9600" in rows[0].ours
    assert "linear interpolation: MAE 0.0300 nats; 9 records of 3 channels" in rows[0].ours
    assert rows[1].what.endswith("held-out channels and splits")
    assert rows[1].ours.endswith("R² 0.9510")
    assert [row.ours for row in scored(tmp_path)] == ["not scored"] * 2


def curve(returns: list[float], optimal: float = 1.0, random: float = 0.0) -> Trained:
    scores = {"policy": returns[-1], "optimal": optimal, "random": random}
    rows = [[1000 * (n + 1), value, 0.0] for n, value in enumerate(returns)]
    return Trained(Path(), {"curve": rows, "scores": scores})


def test_numbers_of_a_curve() -> None:
    group = [curve([0.1, 0.5, 0.7, 0.8]), curve([0.8, 0.2, 0.8, 0.8])]
    assert curves.settled_after(group) == [4000, 1000]
    assert curves.early(group) == pytest.approx([0.1, 0.8])
    assert curves.jitter(group) == pytest.approx([0.15, 0.3])
    assert curves.settled_after([curve([0.3, -0.2])]) == [1000]  # it gains nothing
    mean, low, high = curves.band(np.array([[1.0], [3.0]]))
    assert (mean[0], high[0] - mean[0]) == pytest.approx((2.0, 12.706), rel=1e-4)
    assert mean[0] - low[0] == high[0] - mean[0]


def sweep_lines(slope: float) -> list[dict[str, Any]]:
    subject = Subject("tiny", 8, "abc", "sample", 16, 12, 4.0)
    return [
        Record(subject, channel, p, 4.5 + 0.5 * (n % 2) - slope * p, 0.01, 0.02, 0.0).to_dict()
        for n, channel in enumerate(SweepConfig().channels)
        for p in range(9)
    ]


@pytest.mark.parametrize(("slope", "verdict"), [(0.05, "seen"), (-0.05, "opposite")])
def test_either_sign_of_figure_three(
    slope: float, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fig3, "collected", lambda *args: (sweep_lines(slope), 97))
    result = fig3.make(context_of(tmp_path))
    assert [claim.verdict for claim in result.claims] == ["seen", verdict] * 4
    assert result.pictures[0].csv.count("\n") == 1 + 8 * 9


def records_file(path: Path, lossy: bool = False, greatest: float = 2.0, windows: int = 2) -> Path:
    subject = Subject("small", 6, "abc", "sample", 256, windows, 2.0)
    if lossy:
        channels = [erasure(loss, 0) for loss in (0.0, 0.1, 0.2, 0.3)]
    else:
        channels = [fading(s, m, 0) for s in (0.0, greatest / 2, greatest) for m in (inf, 1.0)]
    lines = [
        json.dumps(Record(subject, c, p, 2.1 + 0.1 * n / (p + 1), 0.01, 0.02, 0.0).to_dict())
        for n, c in enumerate(channels)
        for p in range(7)
    ]
    path.write_text("\n".join(lines) + "\n")
    return path


def test_given_records_are_sorted_by_state(tmp_path: Path) -> None:
    fade = records_file(tmp_path / "fade.jsonl")
    loss = records_file(tmp_path / "loss.jsonl", lossy=True)
    config = ReproduceConfig(out=tmp_path, records=(loss, fade), windows=2)
    assert measured._records(config, print) == {"loss": [loss], "sigma": [fade]}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"greatest": 1.0}, "range"), ({"windows": 3}, "windows")],
)
def test_records_that_do_not_fit_the_table_are_refused(
    wrong: dict[str, Any], words: str, tmp_path: Path
) -> None:
    records = measured.read_records([records_file(tmp_path / "a.jsonl", **wrong)])
    config = ReproduceConfig(out=tmp_path, windows=2)
    with pytest.raises(InputError, match=f"--records: {words}"):
        measured._require_same(records, small_table(), config)


def test_records_of_another_model_are_refused(tmp_path: Path) -> None:
    records = measured.read_records([records_file(tmp_path / "a.jsonl")])
    table = small_table()
    other = PerplexityTable(ModelId("other", 6), table.sigma, table.m, table.nll, table.nll_se,
                            table.clean_nll, table.chance_nll)  # fmt: skip
    config = ReproduceConfig(out=tmp_path, windows=2)
    measured._require_same(records, table, config)
    with pytest.raises(InputError, match="--records: model"):
        measured._require_same(records, other, config)


def test_a_surrogate_answers_at_its_edge_beyond_it() -> None:
    surrogate = small_surrogate(small_table())
    wider = ChannelSpace(("sigma", "inverse_m"), (0.0, 0.0), (2.05, 1.0))
    nearest = Nearest(surrogate, wider)
    split = np.array([3])
    beyond = nearest.nll(np.array([[2.04, 1.0]]), split)
    assert beyond == surrogate.nll(np.array([[2.0, 1.0]]), split)
    with pytest.raises(InputError, match="sigma"):
        nearest.rows(np.array([[2.1, 1.0]]))


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["fig4"], "TARGET"),
        (["--seeds", "1"], "--seeds"),
        (["--steps", "10"], "--steps"),
        (["--windows", "1"], "--windows"),
        (["--workers", "0"], "--workers"),
        (["--published-only"], "--reward: is missing"),
        (["fig5", "--reward", "nowhere.pth"], "nowhere.pth is not there"),
        (["fig5", "--published-only", "--reward", "README.md"], "--reward"),
        (["fig3", "--model", "nowhere/at-all"], "nowhere/at-all"),
        (["fig3", "--dataset", "nowhere.txt"], "--dataset"),
    ],
)
def test_bad_input_gets_one_line(
    flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", *flags, "--out", str(tmp_path / "out")]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(lines) == 1
    assert words in lines[0]


def test_figure_three_is_measured_once_and_the_authors_setting_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = SweepConfig(snrs=(), losses=(), outages=())
    monkeypatch.setattr(fig3, "SweepConfig", lambda: few)
    out = tmp_path / "out"
    flags = ["fig3", "--window", "8", "--windows", "2", "--workers", "1", "--json"]
    files = []
    for _ in range(2):
        assert main(["reproduce", *flags, "--out", str(out)]) == 0
        said = capsys.readouterr()
        assert "Left out: the authors' reward model" in said.err
        assert len(json.loads(said.out.splitlines()[-1])["claims"]) == 2
        (records,) = out.glob("measured/*/sweep.jsonl")
        files.append(records.read_bytes())
    assert "Left out: the authors' reward model" in (out / "report.md").read_text()
    assert files[0] == files[1]
    assert files[0].count(b"\n") == 2 * 17


def test_the_authors_setting_is_the_paper_s(tmp_path: Path) -> None:
    setting = published_setting(published(".safetensors"))
    reward = setting.load()
    assert isinstance(reward, PublishedReward)
    assert isinstance(reward.network, Mlp)
    context = context_of(tmp_path, setting, reward=setting.reward.path)
    (group,) = context.train("a", [context.wanted(setting)])
    assert group[0].scores["optimal"] == pytest.approx(2.992, abs=0.001)
    assert group[0].record["environment"]["max_move"] == 1
