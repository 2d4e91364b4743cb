"""From parts to triangles: each shape once in a box of side 1, moved and scaled for each part.

Explained in notebook 01 (RGB-D frames and cameras).
"""

import math

import numpy as np

from leovl_mini.rooms.furniture.parts import Part

# outlines (radius, height) that are turned about the z axis, in a box of side 1 around the origin
HALF_CIRCLE = np.linspace(-math.pi / 2, math.pi / 2, 11)
OUTLINES = {
    "cylinder": [(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0, 0.5)],
    "sphere": [(0.5 * math.cos(a), 0.5 * math.sin(a)) for a in HALF_CIRCLE],
    "cone": [(0, -0.5), (0.5, -0.5), (0.28, 0.5), (0, 0.5)],
    "cup": [
        *((0, -0.5), (0.44, -0.5), (0.5, -0.3), (0.5, 0.5)),
        *((0.44, 0.5), (0.43, -0.2), (0.3, -0.35), (0, -0.38)),
    ],
    "bowl": [
        *((0, -0.5), (0.28, -0.5), (0.42, -0.1), (0.5, 0.5)),
        *((0.45, 0.5), (0.36, -0.05), (0.2, -0.35), (0, -0.38)),
    ],
    "belly": [
        *((0, -0.5), (0.3, -0.5), (0.46, -0.2), (0.5, 0.05)),
        *((0.44, 0.28), (0.25, 0.5), (0, 0.5)),
    ],
}


def mesh(parts: list[Part], frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (n,3) in the world, triangles (T,3), and each triangle's part (T,).

    ``frames`` (P,5): x, y, z of the origin of each part's object, cosine and sine of its yaw. All
    parts of a shape are made at once.
    """
    shapes = np.array([part.shape for part in parts])
    size = np.array([part.size for part in parts])
    center = np.array([part.center for part in parts])
    points, faces, part_of, count = [], [], [], 0
    for shape in np.unique(shapes):
        index = np.flatnonzero(shapes == shape)
        corners, triangles = UNITS[shape]
        own = corners * size[index, None] + center[index, None]
        own_x, own_y, own_z = np.moveaxis(own, -1, 0)
        x, y, z, cos, sin = frames[index].T[..., None]
        in_world = (x + own_x * cos - own_y * sin, y + own_x * sin + own_y * cos, z + own_z)
        points.append(np.stack(in_world, -1).reshape(-1, 3))
        first = count + len(corners) * np.arange(len(index))[:, None, None]
        faces.append((triangles + first).reshape(-1, 3))
        part_of.append(np.repeat(index, len(triangles)))
        count += len(points[-1])
    vertices = np.concatenate(points).astype(np.float32)
    return vertices, np.concatenate(faces).astype(np.uint32), np.concatenate(part_of)


def turned(outline: list, sides: int = 24) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (n,3) and triangles (m,3) of an outline (radius, height) that is turned about the z
    axis.
    """
    angle = 2 * math.pi * np.arange(sides) / sides
    vertices = np.array([(r * math.cos(a), r * math.sin(a), z) for r, z in outline for a in angle])
    i, j = np.meshgrid(np.arange(len(outline) - 1) * sides, np.arange(sides), indexing="ij")
    a, b = (i + j).ravel(), (i + (j + 1) % sides).ravel()
    lower, upper = (a, b, b + sides), (a, b + sides, a + sides)
    faces = np.concatenate([np.stack(lower, -1), np.stack(upper, -1)])
    p, q, r = vertices[faces].transpose(1, 0, 2)
    # a triangle at the axis may have no area
    return vertices, faces[np.linalg.norm(np.cross(q - p, r - p), axis=1) > 1e-9]


def cube() -> tuple[np.ndarray, np.ndarray]:
    """The same of a box of side 1."""
    corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
    quads = np.array(
        [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    )
    return corners, np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


UNITS = {"box": cube(), **{name: turned(outline) for name, outline in OUTLINES.items()}}
