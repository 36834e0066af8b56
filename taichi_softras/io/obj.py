"""Wavefront OBJ: text in, arrays in the order of the file out.

trimesh reads OBJ, too, but splits vertices where textures have seams, and says nothing of what it
drops.
"""

import contextlib
import itertools
import operator
import pathlib
import re
from typing import NamedTuple

import numpy as np

from taichi_softras.io.contents import Contents, MeshFileError, said_of_uvs, said_once
from taichi_softras.io.folder import Folder
from taichi_softras.io.mtl import read_mtl
from taichi_softras.io.text import decode

NOT_READ = {"l": "lines", "p": "points", "curv": "curves", "curv2": "curves", "surf": "surfaces"}


class Lines(NamedTuple):
    """The lines of a file by their keyword."""

    vertices: list
    uvs: list
    faces: list
    runs: list  # of faces that follow each other: how many faces, v, vt were before, the material
    libraries: list
    not_read: dict  # keyword: how many


def read_obj(path: pathlib.Path) -> Contents:
    """Reads an OBJ file and its materials.

    Vertices, texture coordinates and faces keep the order of the file; a polygon is a fan of
    triangles.

    Raises:
        MeshFileError: an index that no vertex has, or a line that is not of numbers.
    """
    lines = _sorted_lines(decode(path.read_bytes()))
    problems = [f"{count} {NOT_READ[key]} are not read" for key, count in lines.not_read.items()]
    vertices, vertex_colors = _vertices(_table(lines.vertices, "v"))
    uvs = _table(lines.uvs, "vt", missing=0.0)[:, :2]
    problems += said_of_uvs(uvs)
    uvs = np.pad(uvs, ((0, 1), (0, 2 - uvs.shape[1])))  # v may be left out
    uvs[-1] = np.nan  # for corners without

    text, counts = _words(lines.faces, "f")
    if (counts < 3).any():
        problems.append(f"{(counts < 3).sum()} faces of less than three corners are not read")
    corners, face_lines = _fans(counts)
    indices = _indices(text, counts, lines.runs, len(vertices), len(uvs) - 1)[corners]
    if not (indices[..., 1] == len(uvs) - 1).any():
        uvs = uvs[:-1]
    has_uvs = np.isfinite(uvs[indices[..., 1]]).any()

    folder = Folder(path)
    materials, material_of_line = _materials(lines, folder, problems)
    return Contents(
        vertices,
        indices[..., 0],
        vertex_colors,
        uvs=uvs if has_uvs else None,
        uv_faces=indices[..., 1] if has_uvs else None,
        materials=materials,
        face_materials=material_of_line[face_lines],
        problems=tuple(problems),
    )


def _sorted_lines(text: str) -> Lines:
    """One walk through the file, in groups of lines that begin alike."""
    text = "\n" + text.replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", " ")
    if "\n " in text or "\n\t" in text:
        text = re.sub(r"\n[ \t]+", "\n", text)
    lines = Lines([], [], [], [], [], {})
    material = ""
    for start, group in itertools.groupby(text.split("\n"), operator.itemgetter(slice(2))):
        key = start.strip()
        if key == "v":
            lines.vertices.extend(group)
        elif key == "vt":
            lines.uvs.extend(group)
        elif key == "f":
            run = (len(lines.faces), len(lines.vertices), len(lines.uvs), material)
            lines.runs.append(run)
            lines.faces.extend(group)
        elif key in ("us", "mt", "l", "p", "cu", "su"):
            for line in group:
                word, _, value = line.replace("\t", " ").partition(" ")
                if word == "usemtl":
                    material = value.strip()
                elif word == "mtllib":
                    lines.libraries.append(value.strip())
                elif word in NOT_READ:
                    lines.not_read[word] = lines.not_read.get(word, 0) + 1
    return lines


def _words(rows: list, key: str) -> tuple:
    """The words of lines without their keyword: all in one text, and how many each line has."""
    text = "\n".join(rows).replace(key, " ")
    if "#" in text:
        text = re.sub("#[^\n]*", "", text)
    split = text.split("\n") if rows else []
    counts = np.fromiter(map(len, map(str.split, split)), int, len(split))
    return " ".join(split), counts


def _numbers(text: str, count: int, dtype: type, key: str) -> np.ndarray:
    """A text of so many words as numbers; raises a MeshFileError that names one that is none."""
    with contextlib.suppress(ValueError):
        numbers = np.fromstring(text, dtype, sep=" ")  # four times as fast as word by word
        if len(numbers) == count:
            return numbers
    numbers = []
    for word in text.split():
        try:
            numbers.append(dtype(word))
        except (OverflowError, ValueError) as error:
            raise MeshFileError(f"a line of {key} has {word!r} for a number") from error
    return np.array(numbers, dtype)


def _table(rows: list, key: str, missing: float = np.nan) -> np.ndarray:
    """(N, C) numbers of lines; `missing` where a line has less than the longest."""
    text, widths = _words(rows, key)
    numbers = _numbers(text, widths.sum(), float, key)
    columns = widths.max(initial=0)
    if (widths == columns).all():
        return numbers.reshape(len(rows), columns)
    table = np.full((len(rows), columns), missing)
    table[np.arange(columns) < widths[:, None]] = numbers
    return table


def _vertices(table: np.ndarray) -> tuple:
    """Positions, and colours if there are any: x y z, x y z w, x y z r g b, x y z w r g b."""
    columns = table.shape[1]
    if columns < 3:
        table = np.pad(table, ((0, 0), (0, 3 - columns)), constant_values=np.nan)
    if columns < 6:
        return table[:, :3], None
    colors = table[:, 3:6] if columns == 6 else table[:, 4:7]
    scale = 255 if np.fmax.reduce(colors, axis=None) > 1 else 1  # some programs write 0 to 255
    colors = np.clip(np.nan_to_num(colors / scale, nan=1.0), 0, 1)
    return table[:, :3], np.rint(colors * 255) / 255  # in 8 bits, as they were


def _fans(counts: np.ndarray) -> tuple:
    """Triangles of polygons: (F, 3) numbers of corners, and (F,) of polygons."""
    triangles = np.maximum(counts - 2, 0)
    polygons = np.repeat(np.arange(len(counts)), triangles)
    first_corners = (np.cumsum(counts) - counts)[polygons]
    nth = np.arange(len(polygons)) - (np.cumsum(triangles) - triangles)[polygons]
    return np.stack([first_corners, first_corners + nth + 1, first_corners + nth + 2], 1), polygons


def _indices(text: str, counts: np.ndarray, runs: list, num_vertices: int, num_uvs: int):
    """(C, 2) of all corners: vertex, from 0, and UV, which is num_uvs where there is none.

    A relative index, below 0, counts back from where it stands in the file.
    """
    written = _written_indices(text, counts.sum())
    indices = written - 1
    if (written < 0).any():
        lengths = np.diff([run[0] for run in runs] + [len(counts)])
        before = np.array([run[1:3] for run in runs])
        before = np.repeat(np.repeat(before, lengths, axis=0), counts, axis=0)
        indices = np.where(written < 0, written + before, indices)
    wrong = (indices[:, 0] < 0) | (indices[:, 0] >= num_vertices)
    if wrong.any():
        raise MeshFileError(
            f"a face has the corner {text.split()[wrong.argmax()]!r}, "
            f"but its {num_vertices} vertices count from 1"
        )
    indices[(indices[:, 1] < 0) | (indices[:, 1] > num_uvs), 1] = num_uvs
    return indices


def _written_indices(text: str, count: int) -> np.ndarray:
    """(C, 2), vertex and UV of `7`, `7/8`, `7//9` or `7/8/9`; 0 for a UV that is left out."""
    if "/" not in text:
        return np.pad(_numbers(text, count, np.int64, "f")[:, None], ((0, 0), (0, 1)))
    words = (text + " ").replace("//", "/0/").replace("/ ", "/0 ").split()
    slashes = np.fromiter(map(str.count, words, itertools.repeat("/")), int, count)
    indices = np.zeros((count, 2), np.int64)
    for number in np.unique(slashes):
        alike = slashes == number
        joined = " ".join(itertools.compress(words, alike)).replace("/", " ")
        columns = number + 1
        numbers = _numbers(joined, alike.sum() * columns, np.int64, "f").reshape(-1, columns)
        indices[alike, :columns] = numbers[:, :2]
    return indices


def _materials(lines: Lines, folder: Folder, problems: list) -> tuple:
    """The materials of the file's libraries, and the number of each face line's, -1 for none."""
    materials: dict = {}
    for library in lines.libraries:
        _read_library(library, folder, materials, problems)
    material_of_run = [run[3] for run in lines.runs]
    numbers = {name: number for number, name in enumerate(materials)}
    names = list(dict.fromkeys(material_of_run))
    if not folder.missing:
        unknown = [name for name in names if name and name not in materials]
        problems += [f"the material {name} is in no material file" for name in unknown]
    lengths = np.diff([run[0] for run in lines.runs] + [len(lines.faces)]) if names else 0
    of_run = np.array([numbers.get(name, -1) for name in material_of_run], int)
    not_followed = (line for name in names if name in materials for line in materials[name][1])
    problems += said_once(not_followed)
    return tuple(material for material, _ in materials.values()), np.repeat(of_run, lengths)


def _read_library(library: str, folder: Folder, materials: dict, problems: list) -> None:
    """Adds the materials of `mtllib`: one file whose name may have spaces, or several."""
    try:
        materials.update(read_mtl(decode(folder.get(library)), folder))
    except OSError as error:
        if " " not in library:
            problems.append(f"the material file {error}")
        for name in library.split() if " " in library else ():
            _read_library(name, folder, materials, problems)
