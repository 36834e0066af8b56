"""The table of meshes: which of all faces and vertices a view draws.

Faces and vertices of a scene are packed, those of one mesh together. The table has one row, of the
mesh that all views draw, or one for each view, of a batch. What is placed for a rasterizer has as
many places for faces in each view as the largest mesh has faces, or a mesh may get: face `place` of
a view is the packed face `first + place`, and places without a face are empty.

The rows are numbers at the end of the array `layout`: another number of faces compiles nothing.
"""

from typing import NamedTuple

from taichi_softras.geometry.scene_arrays import Layout
from taichi_softras.runtime import ti

FIRST_FACE, NUM_FACES, FIRST_VERTEX, NUM_VERTICES = range(4)  # a row
ROW_SIZE = 4
MESHES = len(Layout._fields)  # where the first row begins in `layout`
NO_PLACE = -1


class MeshTable(NamedTuple):
    """On the host.

    Attributes:
        rows: (first face, faces, first vertex, vertices) of each mesh.
        face_places: F of what is placed: for the faces of a view.
        vertex_places: for the vertices of a view.
    """

    rows: tuple
    face_places: int
    vertex_places: int

    @classmethod
    def of_sizes(cls, num_vertices: list, num_faces: list, capacity: tuple = (0, 0)) -> "MeshTable":
        """Of meshes that are packed one after another.

        Args:
            num_vertices: of each.
            num_faces: of each.
            capacity: vertices and faces that there is room for, if there is more.
        """
        rows, face, vertex = [], 0, 0
        for of_vertices, of_faces in zip(num_vertices, num_faces):
            rows.append((face, of_faces, vertex, of_vertices))
            face, vertex = face + of_faces, vertex + of_vertices
        most_vertices, most_faces = map(max, zip(capacity, (max(num_vertices), max(num_faces))))
        return cls(tuple(rows), most_faces, most_vertices)

    @property
    def num_meshes(self) -> int:
        """How many."""
        return len(self.rows)

    @property
    def is_batch(self) -> bool:
        """Whether each view has a mesh of its own."""
        return len(self.rows) > 1

    @property
    def numbers(self) -> tuple:
        """The end of `layout`."""
        return tuple(number for row in self.rows for number in row)

    def row_of(self, view: int) -> tuple:
        """The mesh that a view draws."""
        return self.rows[min(view, len(self.rows) - 1)]


@ti.func
def count_meshes(scene: ti.template()) -> int:
    """Rows of the table."""
    return (scene.layout.shape[0] - MESHES) // ROW_SIZE


@ti.func
def load_number(scene: ti.template(), views: ti.template(), view: int, number: ti.template()):
    """Of the mesh that a view of the pass draws."""
    mesh = ti.min(views.first + view, count_meshes(scene) - 1)
    return scene.layout[MESHES + ROW_SIZE * mesh + number]


@ti.func
def face_at(scene: ti.template(), views: ti.template(), view: int, place: int) -> int:
    """The face that stands at a place of a view; NO_PLACE at an empty one."""
    first = load_number(scene, views, view, FIRST_FACE)
    return ti.select(place < load_number(scene, views, view, NUM_FACES), first + place, NO_PLACE)


@ti.func
def vertices_of_share(scene: ti.template(), views: ti.template(), view: int, start: int, end: int):
    """First and end of those of the vertices from `start` to `end` that a view draws."""
    first = load_number(scene, views, view, FIRST_VERTEX)
    behind = first + load_number(scene, views, view, NUM_VERTICES)
    return ti.max(start, first), ti.min(end, behind)


@ti.func
def faces_of_share(scene: ti.template(), views: ti.template(), view: int, start: int, end: int):
    """First and end of those of the faces from `start` to `end` that a view draws."""
    first = load_number(scene, views, view, FIRST_FACE)
    behind = first + load_number(scene, views, view, NUM_FACES)
    return ti.max(start, first), ti.min(end, behind)


@ti.func
def views_of_face(scene: ti.template(), views: ti.template(), num_views: int, face: int):
    """First and end of those of some views of the pass that draw a face."""
    start, end = 0, num_views
    if count_meshes(scene) > 1:
        low, high = 0, count_meshes(scene) - 1
        while low < high:  # meshes are in the order of their faces
            middle = (low + high + 1) // 2
            is_before = scene.layout[MESHES + ROW_SIZE * middle + FIRST_FACE] <= face
            low = ti.select(is_before, middle, low)
            high = ti.select(is_before, high, middle - 1)
        view = low - views.first
        is_drawn = (view >= 0) & (view < num_views)
        start = ti.select(is_drawn, view, 0)
        end = ti.select(is_drawn, view + 1, 0)
    return start, end


@ti.func
def count_owners(scene: ti.template(), tables: ti.template(), num_views: int) -> int:
    """How many of the views of a pass, the first ones, have normals and lights of their own.

    View k of the others has those of view k modulo this number.
    """
    return ti.max(tables.surfaces.shape[0], ti.min(count_meshes(scene), num_views))
