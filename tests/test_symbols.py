"""Symbolic scenes: tokens that say in words what an object is, and grids that are simulated."""

import math

import numpy as np
import pytest
import torch
from tiny_scenes import fake_scene
from torch.testing import assert_close

from leovl_mini.data.samples import samples_folder
from leovl_mini.model.leovl import LeoVL
from leovl_mini.model.nano import swap_halves
from leovl_mini.model.symbols import (
    WORDS,
    Symbols,
    Vocabulary,
    objects_as_symbols,
    simulate_grid,
    tokens_as_symbols,
)
from leovl_mini.scans.scene import Object
from leovl_mini.tokens import SceneTokens
from leovl_mini.tokens.base import SceneInput
from leovl_mini.tokens.cache import FeatureCache


@pytest.fixture(scope="module")
def model() -> LeoVL:
    return LeoVL("nano", channels=8)


def words_of(model: LeoVL, ids) -> list[str]:
    return [model.tokenizer.decode([i]).strip() for i in ids if i >= 0]


def test_an_object_in_words(model):
    vocabulary = Vocabulary(model.tokenizer)
    attributes = {"colour": "red", "pattern": "striped", "state": "open", "on": "4"}
    item = Object(3, "tv stand", (0.0, 0.0, 0.3), (1.0, 0.4, 0.6), 0.0, attributes)
    expected = "tv stand red striped open <bottom0> <top3> on".split()
    assert words_of(model, vocabulary.describe(item)) == expected
    alone = Object(3, "lamp", (0.0, 0.0, 0.8), (0.4, 0.4, 1.6), 0.0, {})
    expected = "lamp <bottom0> <top8> middle".split()
    assert words_of(model, vocabulary.describe(alone)) == expected
    assert len(vocabulary.describe(item)) == len(vocabulary.describe(alone)) == WORDS
    vocabulary.known["middle"] = [1, 2]  # a tokenizer that cuts this word in two
    assert len(vocabulary.describe(alone)) == WORDS


def test_a_token_says_the_words_of_what_it_shows(model):
    vocabulary, scene = Vocabulary(model.tokenizer), fake_scene()
    symbols = tokens_as_symbols(scene, vocabulary)
    assert torch.equal(symbols.words, objects_as_symbols(scene.objects, vocabulary).words)
    scene.object_ids[0] = 0
    assert (tokens_as_symbols(scene, vocabulary).words[0] == -1).all()


def test_an_object_says_once_how_it_is_there(model):
    """A table of three tokens and a mug on one of them: each says it next to its middle, and can be
    counted.
    """
    table = Object(1, "table", (0.1, 0.0, 0.35), (1.5, 0.6, 0.7), 0.0, {})
    mug = Object(2, "mug", (0.5, 0.0, 0.75), (0.1, 0.1, 0.1), 0.0, {"on": "1"})
    centers = torch.tensor([[-0.5, 0.0, 0.7], [0.0, 0.0, 0.7], [0.5, 0.0, 0.75], [2.0, 0.0, 0.0]])
    tokens = SceneTokens(torch.zeros(4, 8), centers, torch.arange(4))
    ids = torch.tensor([[1, 0], [1, 0], [2, 1], [0, 0]])
    scene = SceneInput(tokens, ids, [table, mug], "room")
    symbols = tokens_as_symbols(scene, Vocabulary(model.tokenizer))
    rows = [words_of(model, row) for row in symbols.words.tolist()]
    says = [("middle" in row, "on" in row) for row in rows]
    assert says == [(False, False), (True, False), (False, True), (False, False)]
    assert {"table", "mug"} <= set(rows[2]) and rows[3] == []


def test_a_simulated_grid_shows_each_object_where_it_stands(model):
    bed = Object(1, "bed", (1.0, 2.0, 0.3), (2.0, 1.0, 0.6), math.pi / 2, {})
    mug = Object(2, "mug", (1.0, 2.1, 0.7), (0.1, 0.1, 0.1), 0.3, {"colour": "red", "on": "1"})
    vocabulary, empty = Vocabulary(model.tokenizer), set()
    for seed in range(20):
        scene = simulate_grid([bed, mug], np.random.default_rng(seed))
        centers = scene.tokens.centers[:, :2]
        cells = (centers / 0.25 - 0.5).round()
        assert_close(centers, (cells + 0.5) * 0.25)
        assert len(cells.unique(dim=0)) == len(scene)  # a cell is one token, whatever it shows
        beds, mugs = ((scene.object_ids == i).any(1) for i in (1, 2))
        assert 15 <= int(beds.sum()) <= 70 and 1 <= int(mugs.sum()) <= 9
        assert float((beds & mugs).sum()) >= 0.5 * float(mugs.sum())  # most tokens show both
        away = (centers[beds] - torch.tensor([1.0, 2.0])).abs()
        assert (away <= torch.tensor([0.5, 1.0]) + 0.125 + 4 * 0.08).all()
        assert away[:, 1].max() > 0.7  # turned by a quarter
        symbols = tokens_as_symbols(scene, vocabulary)
        # A mug's few tokens count as much as the bed's many.
        share = torch.where(mugs, 1 / mugs.sum(), torch.where(beds, 1 / beds.sum(), 0.0))
        assert_close(symbols.share, share)
        words = symbols.words.unflatten(1, (-1, WORDS))
        for item in (bed, mug):
            shown = (words[..., 0] == vocabulary.ids(item.category)[0]) & (words[..., -1] >= 0)
            assert int(shown.sum()) == 1  # each says once how it is there, in the middle
            assert (centers[shown.any(1)] - torch.tensor(item.center[:2])).norm() < 0.25
        empty.add(int((~beds & ~mugs).sum()))
    assert len(empty) > 5  # of floor and wall there is now more, now less


def test_a_simulated_grid_is_as_dense_as_a_grid():
    """Against the bundled features: tokens that show something, tokens that show two things, tokens
    of small and large things.
    """
    cache, rng = FeatureCache(samples_folder() / "features"), np.random.default_rng(0)

    def counted(scene: SceneInput) -> tuple:
        each = np.array([int((scene.object_ids == o.id).any(1).sum()) for o in scene.objects])
        area = np.array([o.size[0] * o.size[1] for o in scene.objects])
        shown = (scene.object_ids > 0).sum(1)
        several = int((shown == 2).sum())
        return int((shown > 0).sum()), several, each[area < 0.12].mean(), each[area > 0.6].mean()

    scenes = [cache.scene(name) for name in cache.names()]
    real = np.mean([counted(scene) for scene in scenes], 0)
    simulated = np.mean([counted(simulate_grid(s.objects, rng)) for s in scenes], 0)
    assert (np.abs(simulated / real - 1) < 0.25).all(), (real, simulated)


def test_an_untrained_nano_looks_for_what_is_alike_and_copies_it(model):
    """Among scene tokens, the word "chair" attends most to the chair, and takes up its colour."""
    vocabulary = Vocabulary(model.tokenizer)
    kinds, colours = ("sofa", "chair", "lamp"), ("red", "blue", "green")
    words = [
        [vocabulary.ids(k)[0], vocabulary.ids(c)[0]] for k, c in zip(kinds, colours, strict=True)
    ]
    fresh = LeoVL("nano", channels=8)
    table = fresh.language.get_input_embeddings()
    fresh.language.set_attn_implementation("eager")  # the fast one does not show its weights
    with torch.no_grad():
        content = fresh.project([Symbols(torch.tensor(words), torch.zeros(3, 3))])
        scene = swap_halves(fresh.scene_scale * content)
        read = torch.cat([scene, table(torch.tensor([vocabulary.ids("chair")[0]]))])[None]
        options = {"output_attentions": True, "output_hidden_states": True}
        first = fresh.language(inputs_embeds=read, **options)
    attention = first.attentions[0][0, :, -1].mean(0)[:3]
    assert attention.argmax() == 1 and attention[1] > 1.5 * max(attention[0], attention[2])
    ids = torch.tensor([vocabulary.ids(c)[0] for c in colours])
    assert (first.hidden_states[1][0, -1] @ table.weight[ids].T).argmax() == 1
