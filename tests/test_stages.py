"""The commands of training on a handful of rooms, one after the other; what a run leaves behind."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from random_inputs import random_tokens
from safetensors.torch import load_file

from leovl_mini import cli
from leovl_mini.config import FeaturesConfig, SymbolicConfig, TuneConfig
from leovl_mini.data.examples import Example, load_examples
from leovl_mini.evaluate.data import load_eval_data
from leovl_mini.model.leovl import LeoVL
from leovl_mini.rooms.dataset import RoomDataset
from leovl_mini.rooms.texts.lists import LISTS
from leovl_mini.scans.scene import InputError
from leovl_mini.tokens.cache import FeatureCache
from leovl_mini.train import curriculum
from leovl_mini.train.checkpoints import CHECKPOINT
from leovl_mini.train.curriculum import STAGES, symbolic, train_examples, tune
from leovl_mini.train.loop import train_steps
from leovl_mini.train.runlog import RunLog, made_by, scorer


@pytest.fixture
def command(monkeypatch, capsys):
    """Run ``leovl-mini ARGUMENTS`` in this process and return what it printed."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["leovl-mini", *map(str, arguments)])
        cli.main()
        return capsys.readouterr().out

    return run


def tune_config(made: Path, out: Path, **options) -> TuneConfig:
    """One step without alignment and curves, unless options say otherwise."""
    brief = {"steps": 1, "align_steps": 0, "eval_scenes": 0}
    return TuneConfig(made / "corpus", made / "features", out, **brief | options)


def symbolic_config(made: Path, out: Path, **options) -> SymbolicConfig:
    return SymbolicConfig(made / "symbolic", out, **{"batch_size": 2, "eval_scenes": 0} | options)


def test_from_words_to_pictures_to_scores(made, tmp_path, command):
    words, nano = tmp_path / "words", tmp_path / "nano"
    command("train", "symbolic", made / "symbolic", "--out", words, "--steps", 2)
    where = [made / "corpus", "--cache", made / "features"]
    printed = command(
        *("train", "tune", *where, "--out", nano, "--start", words),
        *("--steps", 2, "--align-steps", 1, "--eval-scenes", 1),
    )
    assert "steps 2, loss " in printed and f"{nano}: " in printed.replace("\n", "")
    model, before = LeoVL.from_pretrained(nano), LeoVL.from_pretrained(words)
    assert model.trained and "--start words --align-steps 1 --steps 2" in model.made["command"]
    assert not torch.equal(before.projector[1].weight, model.projector[1].weight)

    scores = tmp_path / "scores.json"
    some = ["--split", "train", "--scenes", 2, "--write", scores]
    command("evaluate", nano, "--corpus", *where, *some)
    found = json.loads(scores.read_text())
    assert found["trained"]["steps"] == 2 and {"scene", "wrong scene"} <= set(found["results"])
    shelf = ["--out", tmp_path / "shelf", "--about", "For tests.", "--scores", scores]
    command("train", "card", nano, "tiny", *shelf)
    card = (tmp_path / "shelf" / "tiny" / "README.md").read_text()
    assert LeoVL.from_pretrained(tmp_path / "shelf" / "tiny").trained
    assert model.made["command"] in card and "| existence |" in card and "For tests." in card


def test_a_run_leaves_everything_to_make_it_again(made, tmp_path):
    tune(tune_config(made, tmp_path / "run", question_only=True, seed=3), quiet=True)
    files = {"checkpoint.safetensors", "run.json", "config.json", "model.safetensors", "README.md"}
    assert {f.name for f in (tmp_path / "run").iterdir()} == files
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    assert run["command"] == (
        "leovl-mini train tune corpus --cache features --out run --align-steps 0 --steps 1 "
        "--question-only --eval-scenes 0 --seed 3"
    )
    assert (run["config"]["steps"], run["config"]["start"]) == (1, None)
    assert (run["seed"], run["steps"], len(run["losses"])) == (3, 1, 1)
    assert run["corpus"].startswith("leovl-mini rooms make --rooms 12 --views 2 --pairs 0.8")
    assert set(run["versions"]) == {"leovl-mini", "torch", "transformers"} and run["hardware"]
    made_in_weights = LeoVL.from_pretrained(tmp_path / "run").made
    assert made_in_weights.items() >= {k: run[k] for k in ("command", "config", "steps")}.items()


def test_a_run_can_be_kept_to_one_domain_and_split(made, tmp_path, monkeypatch):
    found = []

    def noted(stage, model, dataset, *_, **__) -> dict:
        found.append(dataset)
        return {}

    monkeypatch.setattr(curriculum, "run_stage", noted)
    kept = {"split": "skewed-train", "domain": "rscan", "texts": False}
    tune(tune_config(made, tmp_path / "d1", **kept))
    tune(tune_config(made, tmp_path / "all"))
    few, every = ([e for n in d.questions.names for e in d.questions.about[n]] for d in found)
    assert {e.task for e in few} == {"qa"} and {e.scene.split("_")[0] for e in few} == {"rscan"}
    assert {e.scene.split("_")[0] for e in every} == {"scannet", "rscan"}
    with pytest.raises(InputError, match="no examples of split train and domain moon"):
        tune(tune_config(made, tmp_path / "no", domain="moon"))


def test_every_setting_arrives_where_it_acts(made, tmp_path, monkeypatch):
    """Lists, half precision, Muon, warm-up; alignment before tuning, with twice as many scenes."""
    calls = []

    def noted(model, dataset, loss, *_, **options):
        turns = [t for step in range(8) for ts in dataset[step, 0, 1].turns for t in ts]
        texts = [model.tokenizer.decode(t.ids) for t in turns]
        calls.append((dataset, texts, options))
        return [1.0] * options["steps"]

    monkeypatch.setattr(curriculum, "train_steps", noted)
    options = {"align_steps": 5, "texts": False}
    tune(tune_config(made, tmp_path / "lists", list_share=1.0, bf16=True, **options))
    tune(tune_config(made, tmp_path / "few", list_share=0.0, **options))
    assert [o["steps"] for *_, o in calls] == [5, 1, 5, 1]
    assert [o["bf16"] for *_, o in calls] == [True, True, False, False]
    assert all(o["muon"] for *_, o in calls)
    assert [d.batch_size for d, *_ in calls] == [16, 8, 16, 8] and calls[0][1] == []
    short = re.compile(r" USER: [\w ]+ ASSISTANT:")
    for texts, listed in ((calls[1][1], True), (calls[3][1], False)):
        assert all(any(q in t for q in LISTS) or short.match(t) for t in texts) == listed
    calls.clear()
    symbolic(symbolic_config(made, tmp_path / "zero", steps=600))
    symbolic(symbolic_config(made, tmp_path / "on", steps=600, start=Path("nano-symbolic")))
    assert [d.warmup_steps for d, *_ in calls] == [200, 0]  # who starts from weights knows lists


def test_the_table_of_stages_is_complete():
    assert [s.name for s in STAGES] == ["symbolic", "alignment", "tuning", "question-only"]
    assert all(s.shows and s.asks and s.source and s.steps > 0 for s in STAGES)


def test_bundled_rooms_stay_unseen(made):
    rooms, features = RoomDataset(made / "corpus"), FeatureCache(made / "features")
    learned = {e.scene for e in train_examples(rooms, "train")}
    left_out = {e.scene for e in rooms.examples("train")} - learned
    assert left_out == {"scannet_00000", "scannet_00002", "rscan_00002"} and learned
    scored = load_eval_data(rooms, features, "train").examples  # as rooms that were learned from
    assert {e.scene for e in scored} == learned


# -- curves and interruptions ----------------------------------------------------------------------


def test_curves_go_on_after_an_interruption(made, tmp_path, monkeypatch):
    config = symbolic_config(made, tmp_path / "run", steps=3, eval_scenes=2)
    every_step = lambda *a, **o: train_steps(*a, **{**o, "save_every": 1})  # noqa: E731
    monkeypatch.setattr(curriculum, "train_steps", every_step)
    evaluate = RunLog.evaluate

    def interrupted(log, model, step):
        evaluate(log, model, step)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(RunLog, "evaluate", interrupted)
        symbolic(config, quiet=True)
    before = json.loads((config.out / "run.json").read_text())
    assert {"step", "minutes", "coordinates", "mean"} <= set(before["scores"][0])
    assert any(key.startswith("Muon.") for key in load_file(config.out / CHECKPOINT))
    symbolic(config, quiet=True)
    after = json.loads((config.out / "run.json").read_text())
    assert after["scores"][0] == before["scores"][0] and len(after["losses"]) == 3
    assert [row["step"] for row in after["scores"]] == [1, 2, 3]
    assert after["minutes"] >= before["minutes"] and after["command"] == before["command"]


def test_a_run_is_not_continued_by_another_command(made, tmp_path):
    """A question-only model under the name of another would go on with that one's weights."""
    config = tune_config(made, tmp_path / "mine")
    first = tune(config, quiet=True)
    before = {f: f.read_bytes() for f in config.out.iterdir()}
    other = dataclasses.replace(config, question_only=True)
    with pytest.raises(InputError, match="is of another run .*, now .*--question-only.* --out"):
        tune(other)
    assert before == {f: f.read_bytes() for f in config.out.iterdir()}
    assert tune(config, quiet=True)["loss"] == first["loss"]


def test_a_score_is_noted_once_for_each_step(tmp_path):
    example = Example("a", "room", "qa", "colour", "Which colour?", ["red"])
    model, scene = LeoVL("nano", 8), random_tokens(4, 8)
    made = made_by("train symbolic", SymbolicConfig(Path("s"), tmp_path))
    log, again = (RunLog(tmp_path, made, scorer([example], lambda _: scene)) for _ in range(2))
    for step in (200, 400):
        log.evaluate(model, step)
    again = RunLog(tmp_path, made, scorer([example], lambda _: scene))  # resumed at 200
    again.evaluate(model, 400)
    written = json.loads((tmp_path / "run.json").read_text())["scores"]
    assert [row["step"] for row in written] == [200, 400]
    assert {"colour", "mean", "minutes"} < set(again.scores[0])


def test_the_first_stage_goes_on_from_a_run(made, tmp_path):
    start, out = tmp_path / "words", tmp_path / "more"
    symbolic(symbolic_config(made, start, steps=1), quiet=True)
    symbolic(symbolic_config(made, out, steps=1, start=start, text_share=1.0), quiet=True)
    tensors = [load_file(folder / CHECKPOINT) for folder in (start, out)]
    words = [t["model.language.model.embed_tokens.weight"] for t in tensors]
    fresh = LeoVL("nano").language.get_input_embeddings().weight.detach()
    # One step from there, not from the beginning.
    assert 0 < (words[1] - words[0]).abs().max() < (words[1] - fresh).abs().max()


def test_bad_input_to_the_first_stage_is_refused(made, tmp_path):
    old = shutil.copytree(made / "symbolic", tmp_path / "old")  # as earlier versions wrote them
    lines = (old / "train.jsonl").read_text().splitlines(keepends=True)
    (old / "train.jsonl").write_text("".join(x for x in lines if json.loads(x)["task"] == "qa"))
    config = symbolic_config(made, tmp_path / "none", steps=1)
    with pytest.raises(InputError, match="holds no texts; make new ones"):
        symbolic(dataclasses.replace(config, rooms=old, text_share=0.5))
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(InputError, match="is no checkpoint, or damaged"):
        symbolic(dataclasses.replace(config, start=tmp_path / "text.safetensors"))
    with pytest.raises(InputError, match="there are no weights"):
        symbolic(dataclasses.replace(config, start=tmp_path / "nothing"))


# -- what else train makes -------------------------------------------------------------------------


def test_a_sample_of_a_cache_is_a_cache(made, tmp_path, command):
    where = [made / "corpus", "--cache", made / "features", "--out", tmp_path / "few"]
    command("train", "sample", *where, "--train", 1, "--val", 1)
    whole, few = FeatureCache(made / "features"), FeatureCache(tmp_path / "few")
    splits = [list(load_examples(tmp_path / "few" / f"{s}.jsonl")) for s in ("train", "val")]
    assert few.damaged() == [] and few.options == whole.options and len(few) == 1
    assert {e.scene for examples in splits for e in examples} == set(few.names())
    for name in few.names():
        assert torch.equal(few.scene(name).tokens.features, whole.scene(name).tokens.features)
        assert few.scene(name).objects == whole.scene(name).objects


def test_the_tokenizer_can_be_made_again(made, tmp_path, command):
    command("train", "tokenizer", made / "corpus", "--out", tmp_path / "words.json")
    vocabulary = json.loads((tmp_path / "words.json").read_text())["model"]["vocab"]
    assert "Ġchair" in vocabulary and vocabulary["<pad>"] == 0


def test_features_of_another_encoder_are_refused_with_the_command_that_makes_them(made, tmp_path):
    with pytest.raises(InputError, match="encoder efficientnet-lite0, not Qwen/.*") as refused:
        tune(tune_config(made, tmp_path / "x", preset="qwen", lora=8))
    remedy = re.search(r"leovl-mini (train features .*)", str(refused.value))[1].split()
    name, config = cli.parse(remedy)
    assert isinstance(config, FeaturesConfig) and config.preset == "qwen"


@pytest.mark.usefixtures("tiny")
def test_a_pretrained_model_is_tuned_with_an_adapter(made, tmp_path):
    options = {"preset": "tiny", "lora": 4, "accumulate": 2}
    tune(tune_config(made, tmp_path / "tiny", steps=2, align_steps=1, **options), quiet=True)
    loaded = LeoVL.from_pretrained(tmp_path / "tiny")
    assert (loaded.preset, loaded.lora) == ("tiny", 4)
    assert "--preset tiny --lora 4" in loaded.made["command"]
    kinds = {key.split(".")[0] for key in load_file(tmp_path / "tiny" / CHECKPOINT)}
    assert kinds == {"model", "AdamW"}  # no Muon for an adapter
    tune(tune_config(made, tmp_path / "more", start=tmp_path / "tiny", **options), quiet=True)
