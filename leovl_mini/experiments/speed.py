"""How fast the stages are on this machine, each beside a competitor in the same run.

The aims are for two CPU cores; those of a GPU are shown and do not count.
"""

import dataclasses
import warnings
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.utils.benchmark import Timer

from leovl_mini.perception.lift import Patches, lift
from leovl_mini.rooms.cameras import DOMAINS, domain_room, exact, record
from leovl_mini.scans.geometry import back_project, scene_points
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens.base import group_mean
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.proxies import Proxies, allocate, kmeans
from leovl_mini.tokens.voxels import voxelise

RENDER_AIM = 60  # frames a second
AIMS = {  # milliseconds
    "cpu": {"lift + grid": 60, "700 proxies": 300},
    "cuda": {"lift + grid": 3, "700 proxies": 10},
}
SCIKIT_LEARN = {  # its default, and its fastest; group by group
    "scikit-learn, k-means++": {},
    "scikit-learn, random start, 12 steps": {"init": "random", "max_iter": 12},
}


def median_seconds(call: Callable[[], object], seconds: float = 2.0) -> float:
    """Median wall-clock seconds of a call, which is repeated for about so many seconds after a
    warm-up; on a GPU the call is waited for.
    """
    timer = Timer("call()", globals={"call": call}, num_threads=torch.get_num_threads())
    return timer.blocked_autorange(min_run_time=seconds).median


def workload(
    frames: int = 32, size: tuple[int, int] = (256, 336), channels: int = 112
) -> tuple[Scene, Float[Tensor, "V h w C"]]:
    """A made room and random features, one cell per 8 pixels: times do not depend on what the
    features say.
    """
    style = dataclasses.replace(DOMAINS["scannet"], size=size, sensor=exact)
    scene = record(domain_room("scannet", 2), style, frames)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(frames, size[0] // 8, size[1] // 8, channels, generator=generator)
    return scene, features


class Bench:
    """The table as it grows: ``rows`` (headings first), and the names of the rows that ``missed``
    their aim.
    """

    def __init__(self, seconds: float):
        self.seconds, self.missed = seconds, []
        self.rows = [["what", "device", "milliseconds", "rate or ratio", "aim"]]

    def time(self, what: str, call: Callable[[], object], device: str = "cpu") -> float:
        """Time a call and add it as a row; the median is returned."""
        seconds = median_seconds(call, self.seconds)
        aim = AIMS[device].get(what)
        met = aim is None or device != "cpu" or 1000 * seconds <= aim
        self.add(what, seconds, device, aim=f"{aim} ms" if aim else "", met=met)
        return seconds

    def add(self, what: str, seconds: float, device="cpu", note="", aim="", met=True) -> None:
        self.rows.append([what, device, f"{1000 * seconds:.1f}", note, aim])
        if not met:
            self.missed.append(f"{what}: {aim}")


def run_bench(seconds: float = 2.0) -> tuple[list[list[str]], list[str]]:
    """A table (headings first), and the names of the rows that missed their aim on the CPU; each
    call is repeated for about so many ``seconds``.
    """
    bench, room = Bench(seconds), domain_room("scannet", 2)
    style = dataclasses.replace(DOMAINS["scannet"], sensor=exact)
    each = median_seconds(lambda: record(room, style), seconds) / 8
    rates = f"{1 / each:.0f} frames/s", f"{RENDER_AIM} frames/s"
    bench.add("render 8 views of 256x192", 8 * each, "cpu", *rates, met=1 / each >= RENDER_AIM)

    scene, features = workload()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about budgets
        for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
            time_tokens(bench, scene.to(device), features.to(device), device)
        time_open3d(bench, scene)
        patches = lift(
            features, scene.depth, scene.intrinsics, scene.camera_to_world, masks=scene.instances
        )
        bench.time("voxels of 0.2 m, plain loop", lambda: loop_voxels(patches))
        time_clustering(bench, patches)
    return bench.rows, bench.missed


def time_tokens(bench: Bench, scene: Scene, features: Tensor, device: str) -> None:
    """Lifting, voxels, grid and proxies of one scene; on a GPU also a plain copy."""
    camera = (scene.depth, scene.intrinsics, scene.camera_to_world)
    grid, proxies = CondensedGrid(), Proxies()
    patches = lift(features, *camera, masks=scene.instances)
    bench.time("back-project every pixel", lambda: back_project(*camera), device)
    if device == "cuda":
        time_copy(bench, scene.depth)
    bench.time("lift patches", lambda: lift(features, *camera), device)
    bench.time("voxels of 0.2 m", lambda: voxelise(patches), device)
    bench.time("lift + grid", lambda: grid(lift(features, *camera)), device)
    bench.time("700 proxies", lambda: proxies(patches), device)


def time_copy(bench: Bench, depth: Float[Tensor, "V H W"]) -> None:
    """The memory floor of back-projection: read one depth value and write three coordinates for
    each pixel. A copy of two values reads and writes as much in all.
    """
    source = torch.empty(2 * depth.numel(), device=depth.device)
    target = torch.empty_like(source)
    seconds = median_seconds(lambda: target.copy_(source), bench.seconds)
    rate = 2 * source.numel() * source.element_size() / seconds / 1e9
    bench.add("copy of as many bytes", seconds, "cuda", f"{rate:.0f} GB/s")


def time_open3d(bench: Bench, scene: Scene) -> None:
    """The same back-projection and voxels by Open3D."""
    from leovl_mini.data.open3d_headless import open3d

    height, width = scene.depth.shape[1:]
    K = scene.intrinsics[0].double().numpy()
    camera = open3d.camera.PinholeCameraIntrinsic(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    world_to_camera = torch.linalg.inv(scene.camera_to_world).double().numpy()
    image = open3d.geometry.Image
    images = [
        open3d.geometry.RGBDImage.create_from_color_and_depth(
            image(rgb.contiguous().numpy()), image(depth.contiguous().numpy()), 1.0, 100.0, False
        )
        for rgb, depth in zip(scene.rgb, scene.depth, strict=True)
    ]
    create = open3d.geometry.PointCloud.create_from_rgbd_image
    bench.time(
        "Open3D create_from_rgbd_image",
        lambda: [create(i, camera, w) for i, w in zip(images, world_to_camera, strict=True)],
    )
    points = open3d.utility.Vector3dVector(scene_points(scene)[0].double().numpy())
    cloud = open3d.geometry.PointCloud(points)
    low, high = cloud.get_min_bound(), cloud.get_max_bound()
    bench.time(
        "Open3D voxel_down_sample_and_trace, every pixel",
        lambda: cloud.voxel_down_sample_and_trace(0.2, low, high),
    )


def loop_voxels(patches: Patches) -> dict[tuple, np.ndarray]:
    """Voxel means the slow way: one patch after the other."""
    sums: dict[tuple, list] = {}
    features = patches.features.numpy()
    for i, key in enumerate(map(tuple, (patches.centers / 0.2).floor().int().tolist())):
        entry = sums.setdefault(key, [np.zeros(features.shape[1], np.float32), 0])
        entry[0] += features[i]
        entry[1] += 1
    return {key: total / count for key, (total, count) in sums.items()}


def time_clustering(bench: Bench, patches: Patches) -> None:
    """Our k-means beside scikit-learn's, which takes the groups one by one. Ours stays as long as
    none of these is both faster and closer to its centres.
    """
    from sklearn.cluster import KMeans

    group = patches.segments.unique(return_inverse=True)[1]
    counts = allocate(torch.bincount(group), 700)
    members = [patches.centers[group == g].numpy() for g in range(len(counts))]

    def scikit_learn(**options) -> float:
        return sum(
            KMeans(int(k), n_init=1, random_state=0, **options).fit(points).inertia_
            for k, points in zip(counts, members, strict=True)
        )

    def ours() -> float:
        return inertia(patches.centers, kmeans(patches.centers, group, counts))

    calls = {name: partial(scikit_learn, **o) for name, o in SCIKIT_LEARN.items()}
    others = {name: (median_seconds(f, bench.seconds), f()) for name, f in calls.items()}
    seconds, total = median_seconds(ours, bench.seconds), ours()
    beaten = any(s < seconds and t <= total for s, t in others.values())
    aim = "not behind in both"
    bench.add("k-means into 700", seconds, "cpu", f"inertia {total:.0f} m2", aim, not beaten)
    for name, (seconds, total) in others.items():
        bench.add(name, seconds, note=f"inertia {total:.0f} m2")


def inertia(points: Float[Tensor, "P 3"], cluster: Int64[Tensor, "P"]) -> float:
    """Sum of the squared distances to the clusters' means."""
    means = group_mean(points, cluster, int(cluster.max()) + 1)
    return float((points - means[cluster]).square().sum())
