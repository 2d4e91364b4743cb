"""Floor plans, scene graphs, boxes, objects and the interactive scene: what is drawn is where and
what it should be.
"""

import dataclasses
import re

import numpy as np
import pytest
import torch
from figure_check import faults
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from leovl_mini import LeoVL, load_scene, perceive
from leovl_mini.data.examples import load_examples
from leovl_mini.data.samples import sample_room
from leovl_mini.perception.lift import Patches
from leovl_mini.rooms import domain_room, record
from leovl_mini.rooms.room import corners
from leovl_mini.scans.scene import Object, Scene
from leovl_mini.show import pipeline
from leovl_mini.show.objects import (
    GREY,
    box_corners,
    floor_plan,
    object_image,
    object_legend,
    object_styles,
    object_view,
    report_bars,
    scene_graph,
    show_segments,
)
from leovl_mini.show.plots import feature_colours, overview
from leovl_mini.show.report import question_table
from leovl_mini.show.viewer import describe_tokens, figure, write_page
from leovl_mini.tokens import ObjectTokens, Proxies, SceneTokens
from leovl_mini.tokens.base import SceneInput
from leovl_mini.tokens.inspect import object_report


@pytest.fixture(scope="module", params=["multiscan", "rscan"])
def room(request):
    return domain_room(request.param, 3), request.param


def test_box_corners_stand_over_the_footprint(room):
    for item in room[0].objects:
        found = box_corners(item)
        assert torch.allclose(
            found[[0, 4, 6, 2], :2].double(), torch.tensor(corners(item)), atol=1e-5
        )
        assert float(found[:, 2].max() - found[:, 2].min()) == pytest.approx(item.size[2], abs=1e-5)


def test_a_floor_plan_names_every_object_and_a_scene_graph_every_relation(room):
    objects = room[0].objects
    page = Figure()
    canvas = FigureCanvasAgg(page)
    plan, graph = page.subplots(1, 2)
    floor_plan(plan, objects, room[0].areas, "plan")
    scene_graph(graph, objects, "graph")
    canvas.draw()
    assert not faults(canvas)
    names = [text.get_text() for text in plan.texts]
    assert len(names) == len(objects) and all(
        any(n.split()[0] == str(o.id) for n in names) for o in objects
    )
    relations = [
        text.get_text() for text in graph.texts if text.get_text() in ("on", "under", "inside")
    ]
    assert len(relations) == sum(
        r in o.attributes for o in objects for r in ("on", "under", "inside")
    )


def test_nothing_to_draw_is_no_error():
    page = Figure()
    first, second = page.subplots(1, 2)
    floor_plan(first, [])
    scene_graph(second, [])


def test_the_interactive_scene_shows_boxes_when_asked_and_stays_small(room):
    scene = record(room[0], room[1], 2)
    assert figure(scene).data[-1].name == "cameras"
    page = figure(scene, boxes=True)
    assert page.data[-1].name == "object boxes" and len(page.to_json()) < 600_000
    assert sum(1 for t in page.data[-1].text if t) == len(scene.objects)


# -- objects in colours ----------------------------------------------------------------------------


def things(*categories: str) -> list[Object]:
    return [
        Object(i + 1, name, (float(i), 0.0, 0.5), (1.0, 1.0, 1.0))
        for i, name in enumerate(categories)
    ]


def test_every_category_has_a_look_of_its_own():
    styles = object_styles(things(*(f"kind {i % 20}" for i in range(30))))
    assert (
        len(styles) == 30
        and styles[1] == styles[21]
        and len({(s.colour, s.marker) for s in styles.values()}) == 20
    )


def test_ids_become_the_colours_of_their_categories():
    styles = object_styles(things("chair", "table"))
    image = object_image(torch.tensor([[0, 1], [2, 9]]), styles)
    as_hex = [
        "#" + "".join(f"{round(255 * c):02x}" for c in pixel)
        for pixel in image.flatten(0, 1).tolist()
    ]
    assert as_hex == [GREY, styles[1].colour, styles[2].colour, GREY]


def test_objects_from_above_are_drawn_in_place_below_the_cut_and_ringed_by_name():
    page = Figure(layout="constrained")
    canvas, axes = FigureCanvasAgg(page), page.subplots()
    objects = things("chair", "table", "chair")
    centers = torch.tensor([[0.0, 0, 0.5], [1, 2, 0.5], [2, 1, 0.5], [3, 3, 0.0], [4, 4, 2.9]])
    object_view(
        axes,
        centers,
        torch.tensor([1, 2, 3, 0, 1]),
        object_styles(objects),
        "here",
        ringed=objects[1:2],
    )
    object_legend(page, object_styles(objects))
    canvas.draw()
    assert not faults(canvas)
    drawn = [[tuple(place) for place in dots.get_offsets().tolist()] for dots in axes.collections]
    assert drawn == [[(3, 3)], [(0, 0), (1, 2), (2, 1)]] and [
        text.get_text() for text in axes.texts
    ] == ["table 2"]
    assert [text.get_text() for text in page.legends[0].get_texts()] == [
        "chair",
        "table",
        "background",
    ]


def test_segments_take_the_colour_of_the_object_they_show_most():
    axes, styles = Figure().subplots(), object_styles(things("chair", "table"))
    objects = torch.tensor([[1] * 9 + [2] * 3, [0] * 12]).repeat_interleave(4, 0)
    segments = torch.tensor([[7] * 12, [3] * 12]).repeat_interleave(
        4, 0
    )  # one segment for chair and table
    image = np.asarray(show_segments(axes, segments, objects, styles).get_array())
    whole = object_image(torch.tensor([[1] * 12, [0] * 12]).repeat_interleave(4, 0), styles).numpy()
    assert (
        np.allclose(image[:3], whole[:3])
        and np.allclose(image[5:], whole[5:])
        and not image[3:5].any()
    )


def test_report_bars_mark_lost_objects():
    patches = Patches(
        torch.zeros(4, 2),
        torch.zeros(4, 3),
        torch.zeros(4, 3, dtype=torch.long),
        0,
        torch.tensor([0, 0, 1, 2]),
    )
    reports = {
        name: object_report(
            SceneTokens(torch.zeros(3, 2), torch.zeros(3, 3), torch.tensor(source)), patches
        )
        for name, source in (("all", [0, 0, 1, 2]), ("one", [0, 0, 0, 0]))
    }
    page = Figure()
    canvas, (left, right) = FigureCanvasAgg(page), page.subplots(1, 2, sharey=True)
    report_bars(left, right, reports, ["room", "chair", "table"])
    canvas.draw()
    assert not faults(canvas)
    assert [[bar.get_width() for bar in bars] for bars in left.containers] == [[1, 1, 1], [1, 0, 0]]
    assert [len(line.get_xdata()) for line in left.lines] == [0, 2]


# -- the interactive scene -------------------------------------------------------------------------


def test_hovering_lists_counts_frames_and_patches():
    source = torch.tensor([[0, 3, 4], [1, 5, 6], [1, 5, 7], [1, 6, 6], [0, 9, 9], [1, 7, 7]])
    patches = Patches(torch.zeros(6, 2), torch.zeros(6, 3), source, 0)
    tokens = SceneTokens(torch.zeros(3, 2), torch.zeros(3, 3), torch.tensor([2, 0, 2, 2, -1, 2]))
    words = describe_tokens(tokens, patches, ["a", "b"], listed=3)
    assert words[0] == "1 patches: frame b (1)<br>b:5,6"
    assert words[1].startswith("0 patches")
    assert words[2] == "4 patches: frame b (3), a (1)<br>a:3,4 b:5,7 b:6,6 ..."


@pytest.fixture(scope="module")
def bundled() -> tuple[Scene, SceneInput, dict[str, SceneTokens]]:
    """The bundled room with everything that notebook 05 shows."""
    scene = load_scene(sample_room())
    scene_input = perceive(scene)
    proxies, objects = Proxies(budget=len(scene_input)), ObjectTokens()
    more = {"proxies": proxies(scene_input.patches), "objects": objects(scene_input.patches)}
    return scene, scene_input, more


def test_the_bundled_room_with_all_layers_stays_below_600_kilobytes(bundled):
    scene, scene_input, more = bundled
    page = figure(scene, scene_input, boxes=True, more=more)
    assert len(page.to_json()) <= 600_000 and page.layout.height == 560  # in a notebook
    names = ["points", "cameras", "voxels", "grid tokens", "proxies", "objects", "object boxes"]
    assert [trace.name for trace in page.data] == names
    sizes = dict(zip(names, (len(trace.x) for trace in page.data), strict=True))
    assert sizes["grid tokens"] == sizes["proxies"] == len(scene_input)
    assert sizes["objects"] == len(scene.objects)


def test_every_token_of_the_bundled_room_names_patches_that_lie_near_it(bundled):
    scene, scene_input, more = bundled
    layer = figure(scene, scene_input, more=more).data[4]
    patches, frames = scene_input.patches, scene.frame_names
    places = map(tuple, patches.cells.tolist())
    centers = dict(zip(places, patches.centers, strict=True))
    for place, text in zip(np.stack([layer.x, layer.y, layer.z], 1), layer.text, strict=True):
        head, cells = text.split("<br>")
        cells = [re.split("[:,]", cell) for cell in cells.removesuffix(" ...").split()]
        found = torch.stack([centers[frames.index(v), int(r), int(c)] for v, r, c in cells])
        assert len(found) == min(4, int(head.split()[0]))
        assert (found - torch.from_numpy(place)).norm(dim=1).max() < 2


def test_tokens_left_out_of_a_layer_leave_the_figure_whole(bundled):
    scene, scene_input, more = bundled
    none = dataclasses.replace(more["objects"], source=torch.full_like(more["objects"].source, -1))
    layer = figure(scene, scene_input, more={"objects": none}).data[4]
    assert set(layer.text) == {"0 patches: frame <br>"}


def test_a_page_of_its_own_fills_the_window_and_needs_no_network(bundled, tmp_path):
    shown = figure(bundled[0], bundled[1], max_points=100)
    write_page(shown, tmp_path / "scene.html")
    page = (tmp_path / "scene.html").read_text()
    assert "height:100vh" in page and '"height":560' not in page and shown.layout.height == 560
    assert "height: innerHeight" in page and 'src="http' not in page


# -- pages and tables ------------------------------------------------------------------------------


def test_one_reference_gives_one_colour_to_one_feature():
    random = torch.Generator().manual_seed(0)
    reference = torch.randn(50, 8, generator=random)
    assert torch.equal(feature_colours(reference[:7], reference), feature_colours(reference)[:7])
    assert feature_colours(reference[:2]).eq(0.5).all()  # too few to have three directions


@pytest.mark.parametrize("kind", ["grid", "proxies"])
def test_the_overview_is_readable_at_1024_pixels(bundled, kind):
    scene, scene_input, more = bundled
    if kind == "proxies":
        scene_input = dataclasses.replace(scene_input, tokens=more["proxies"], kind="proxies")
    page = overview(scene, scene_input)
    check_page(page)
    names = [axes.get_title() for axes in page.axes]
    assert names[0] == "frame 000" and any(f"{kind} tokens" in name for name in names)


def test_the_picture_of_the_pipeline_is_readable_and_small(tmp_path):
    page = pipeline.pipeline_picture(sample_room())
    check_page(page)
    words = " ".join(text.get_text() for text in page.texts)
    shapes = ("V = 8", "192 × 256", "30 × 40", "C = 152", "P = 9,456", "M = 1,354", "K = 366")
    assert all(shape in words for shape in shapes)
    pipeline.write_small(page, tmp_path / "pipeline.png")
    assert (tmp_path / "pipeline.png").stat().st_size <= 300_000


def check_page(page: Figure) -> None:
    """Not blank, every axis with its label, letters of 10 points at a width of 1,024 pixels."""
    canvas = FigureCanvasAgg(page)
    canvas.draw()
    assert not faults(canvas)
    scale = 1024 / 96 / page.get_figwidth()  # a browser's point is 96/72 pixels
    texts = [t for t in page.findobj(Text) if t.get_text().strip() and t.get_visible()]
    assert min(t.get_fontsize() for t in texts) * scale >= 10


def test_questions_stand_beside_truth_and_the_same_model_without_the_scene(bundled):
    scene, scene_input, _ = bundled
    examples = list(load_examples(sample_room() / "examples.jsonl"))
    made, counted = question_table(LeoVL.from_pretrained("nano"), scene_input.tokens, examples)
    columns = {str(c.header): list(c.cells) for c in made.columns}
    assert len(set(columns["kind"])) == 8 and columns["truth"][0] == examples[0].answers[0]
    right = [sum("(wrong)" not in a for a in columns[c]) for c in ("answer", "without the scene")]
    assert counted.startswith(f"Right are {right[0]} of 8, without the scene {right[1]}. ")
    assert right[0] > right[1]
    for truth, answer in zip(columns["truth"], columns["answer"], strict=True):
        assert answer == truth or "(wrong)" in answer
