"""Floor plans, scene graphs and boxes: what is drawn is where it should be."""

import pytest
import torch
from figure_check import faults
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from leovl_mini.plots import box_corners, floor_plan, scene_graph
from leovl_mini.rooms import domain_room, record
from leovl_mini.rooms.room import corners
from leovl_mini.viewer import figure


@pytest.fixture(scope="module", params=["multiscan", "rscan"])
def room(request):
    return domain_room(request.param, 3), request.param


def test_box_corners_stand_over_the_footprint(room):
    for item in room[0].objects:
        found = box_corners(item)
        assert torch.allclose(found[[0, 4, 6, 2], :2].double(), torch.tensor(corners(item)), atol=1e-5)
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
    assert len(names) == len(objects) and all(any(n.split()[0] == str(o.id) for n in names) for o in objects)
    relations = [text.get_text() for text in graph.texts if text.get_text() in ("on", "under", "inside")]
    assert len(relations) == sum(r in o.attributes for o in objects for r in ("on", "under", "inside"))


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
