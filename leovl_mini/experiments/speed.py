"""Timings with warm-up and medians, each beside a competitor in the same run. The aims are for two
CPU cores.
"""

import dataclasses
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch

from leovl_mini.perception.lift import lift
from leovl_mini.scans.geometry import back_project, scene_points
from leovl_mini.scans.scene import Scene
from leovl_mini.tokens.base import group_mean
from leovl_mini.tokens.grid import CondensedGrid
from leovl_mini.tokens.proxies import Proxies, allocate, kmeans
from leovl_mini.tokens.voxels import voxelise

CPU_AIMS = {
    "render": 60.0,
    "lift + grid": 60.0,
    "proxies": 300.0,
}  # frames/s; milliseconds; milliseconds


def median_seconds(
    call: Callable[[], object], repeats: int, device: str = "cpu", warmup: int = 3
) -> float:
    """Median wall-clock seconds of a call; on a GPU the call is waited for."""
    wait = torch.cuda.synchronize if device != "cpu" else lambda: None
    seconds = []
    for i in range(warmup + repeats):
        start = time.perf_counter()
        call()
        wait()
        if i >= warmup:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def workload(
    frames: int = 32, size: tuple[int, int] = (256, 336), channels: int = 112
) -> tuple[Scene, torch.Tensor]:
    """A made room and random features (V, H/8, W/8, C): times do not depend on what the features
    say.
    """
    from leovl_mini.rooms.cameras import DOMAINS, domain_room, exact, record

    style = dataclasses.replace(DOMAINS["scannet"], size=size, sensor=exact)
    scene = record(domain_room("scannet", 2), style, frames)
    features = torch.randn(
        frames, size[0] // 8, size[1] // 8, channels, generator=torch.Generator().manual_seed(0)
    )
    return scene, features


def run_bench(repeats: int) -> tuple[list[list[str]], list[str]]:
    """A table (headings first), and the names of the rows that missed their aim on the CPU."""
    from leovl_mini.rooms.cameras import DOMAINS, domain_room, exact, record

    rows, missed = [["what", "device", "milliseconds", "rate or ratio", "aim"]], []

    def row(
        name: str, device: str, seconds: float, note: str = "", aim: str = "", met: bool = True
    ) -> None:
        rows.append([name, device, f"{1000 * seconds:.1f}", note, aim])
        if not met:
            missed.append(f"{name}: {aim}")

    room, style = domain_room("scannet", 2), dataclasses.replace(DOMAINS["scannet"], sensor=exact)
    seconds = median_seconds(lambda: record(room, style), repeats)
    aim = CPU_AIMS["render"]
    row(
        "render 8 views of 256x192",
        "cpu",
        seconds,
        f"{8 / seconds:.0f} frames/s",
        f"{aim:.0f} frames/s",
        8 / seconds >= aim,
    )
    scene, features = workload()
    for device in ["cpu"] + ["cuda"] * torch.cuda.is_available():
        measure_tokens(scene.to(device), features.to(device), device, repeats, row)
    compare_on_cpu(scene, features, repeats, row)
    return rows, missed


def measure_tokens(
    scene: Scene, features: torch.Tensor, device: str, repeats: int, row: Callable
) -> None:
    """Lifting, voxels, grid and proxies of one scene; on a GPU also against the speed of a plain
    copy.
    """
    camera = (scene.depth, scene.intrinsics, scene.camera_to_world)
    grid, proxies = (
        CondensedGrid(features.shape[-1]).to(device),
        Proxies(features.shape[-1]).to(device),
    )
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patches = lift(features, *camera, masks=scene.instances)
        row(
            "back-project every pixel",
            device,
            median_seconds(lambda: back_project(*camera), repeats, device),
        )
        if device != "cpu":
            measure_copy(scene, device, repeats, row)
        row(
            "lift patches", device, median_seconds(lambda: lift(features, *camera), repeats, device)
        )
        row("voxels of 0.2 m", device, median_seconds(lambda: voxelise(patches), repeats, device))
        seconds = median_seconds(lambda: grid(lift(features, *camera)), repeats, device)
        aim, on_cpu = CPU_AIMS["lift + grid"], device == "cpu"
        row(
            "lift + grid",
            device,
            seconds,
            "",
            f"{aim:.0f} ms" if on_cpu else "3 ms",
            not on_cpu or 1000 * seconds <= aim,
        )
        seconds = median_seconds(lambda: proxies(patches), repeats, device)
        aim = CPU_AIMS["proxies"]
        row(
            "700 proxies",
            device,
            seconds,
            "",
            f"{aim:.0f} ms" if on_cpu else "10 ms",
            not on_cpu or 1000 * seconds <= aim,
        )


def measure_copy(scene: Scene, device: str, repeats: int, row: Callable) -> None:
    """The memory floor of back-projection: read one depth value and write three coordinates for
    each pixel.
    """
    target = torch.empty(4 * scene.depth.numel(), device=device)
    source = torch.empty_like(
        target[: len(target) // 2]
    )  # a copy of half the bytes reads and writes as much in all
    seconds = median_seconds(lambda: target[: len(source)].copy_(source), repeats, device)
    rate = 2 * source.numel() * source.element_size() / seconds / 1e9
    row("copy of as many bytes", device, seconds, f"{rate:.0f} GB/s")


def compare_on_cpu(scene: Scene, features: torch.Tensor, repeats: int, row: Callable) -> None:
    """The same work done by Open3D, by scikit-learn and by a plain loop."""
    from sklearn.cluster import KMeans

    from leovl_mini.data.open3d_headless import open3d

    height, width = scene.depth.shape[1:]
    K = scene.intrinsics[0].double().numpy()
    camera = open3d.camera.PinholeCameraIntrinsic(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
    images = [
        open3d.geometry.RGBDImage.create_from_color_and_depth(
            open3d.geometry.Image(rgb.contiguous().numpy()),
            open3d.geometry.Image(depth.contiguous().numpy()),
            1.0,
            100.0,
            False,
        )
        for rgb, depth in zip(scene.rgb, scene.depth, strict=True)
    ]
    inverse = torch.linalg.inv(scene.camera_to_world).double().numpy()

    def clouds():
        return [
            open3d.geometry.PointCloud.create_from_rgbd_image(i, camera, e)
            for i, e in zip(images, inverse, strict=True)
        ]

    row("Open3D create_from_rgbd_image", "cpu", median_seconds(clouds, repeats))
    points = scene_points(scene)[0]
    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points.double().numpy()))
    low, high = cloud.get_min_bound(), cloud.get_max_bound()
    row(
        "Open3D voxel_down_sample_and_trace, every pixel",
        "cpu",
        median_seconds(
            lambda: cloud.voxel_down_sample_and_trace(0.2, low, high),
            max(3, repeats // 7),
            warmup=1,
        ),
    )
    patches = lift(
        features, scene.depth, scene.intrinsics, scene.camera_to_world, masks=scene.instances
    )
    row(
        "voxels of 0.2 m, plain loop",
        "cpu",
        median_seconds(lambda: loop_voxels(patches), max(3, repeats // 7), warmup=1),
    )
    group = patches.segments.unique(return_inverse=True)[1]
    counts = allocate(torch.bincount(group), 700)
    members = [patches.centers[group == g].numpy() for g in range(len(counts))]

    def scikit():
        return sum(
            KMeans(int(k), n_init=1, random_state=0).fit(x).inertia_
            for k, x in zip(counts, members, strict=True)
        )

    ours = inertia(patches.centers, kmeans(patches.centers, group, counts))
    seconds = median_seconds(lambda: kmeans(patches.centers, group, counts), repeats)
    theirs = median_seconds(scikit, max(3, repeats // 7), warmup=1)
    row(
        "k-means into 700",
        "cpu",
        seconds,
        f"inertia {ours:.0f} m2",
        "not slower than scikit-learn",
        seconds <= theirs,
    )
    row("scikit-learn KMeans, group by group", "cpu", theirs, f"inertia {scikit():.0f} m2")


def inertia(points: torch.Tensor, cluster: torch.Tensor) -> float:
    return float(
        (points - group_mean(points, cluster, int(cluster.max()) + 1)[cluster]).square().sum()
    )


def loop_voxels(patches) -> dict[tuple, np.ndarray]:
    """Voxel means the slow way: one patch after the other."""
    sums: dict[tuple, list] = {}
    features = patches.features.numpy()
    for i, key in enumerate(map(tuple, (patches.centers / 0.2).floor().int().tolist())):
        entry = sums.setdefault(key, [np.zeros(features.shape[1], np.float32), 0])
        entry[0] += features[i]
        entry[1] += 1
    return {key: total / count for key, (total, count) in sums.items()}
