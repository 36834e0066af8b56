"""Wavefront OBJ: text in, arrays in the order of the file out.

trimesh reads OBJ, too, but splits vertices where textures have seams, and says nothing of what it
drops.
"""

import contextlib
import functools
import pathlib
import re
from typing import NamedTuple, Optional

import numpy as np

from taichi_softras.io.contents import Contents, MeshFileError, Picture
from taichi_softras.io.folder import Folder

NOT_READ = {"l": "lines", "p": "points", "curv": "curves", "curv2": "curves", "surf": "surfaces"}
OPTIONS = re.compile(r"-[a-zA-Z]\w*(\s+(-?[\d.]+|on|off))*\s+")  # of `map_Kd`
WHITE = (1.0, 1.0, 1.0)


class Material(NamedTuple):
    """What is used of a material: `Kd` and `map_Kd`."""

    color: tuple = WHITE
    picture: Optional[str] = None


class Run(NamedTuple):
    """Face lines that follow each other: what stands before them holds for all."""

    first_face: int
    num_vertices: int
    num_uvs: int
    material: str


class Lines(NamedTuple):
    """The lines of a file by their keyword, without it."""

    vertices: list
    uvs: list
    faces: list
    runs: list
    libraries: list
    not_read: dict  # keyword: how many


def read_obj(path: pathlib.Path) -> Contents:
    """Reads an OBJ file and its materials.

    Vertices and faces keep the order of the file; a polygon is a fan of triangles. Colours of
    vertices take the place of those of materials.

    Raises:
        MeshFileError: an index that no vertex has, or a line that is not of numbers.
    """
    lines = _sorted_lines(decode(path.read_bytes()))
    problems = [f"{count} {NOT_READ[key]} are not read" for key, count in lines.not_read.items()]
    vertices, vertex_colors = _vertices(_table(lines.vertices, "v"))
    uvs = _table(lines.uvs, "vt")[:, :2]
    uvs = np.pad(uvs, ((0, 1), (0, 2 - uvs.shape[1])))  # v may be left out
    uvs[-1] = np.nan  # for corners without

    counts = np.fromiter(map(len, map(str.split, lines.faces)), int, len(lines.faces))
    if (counts < 3).any():
        problems.append(f"{(counts < 3).sum()} faces of less than three corners are not read")
    corners, face_lines = _fans(counts)
    indices = _indices(lines, counts, len(vertices), len(uvs) - 1)[corners]

    folder = Folder(path)
    used, material_of_line = _materials(lines, folder, problems)
    material_of_face = material_of_line[face_lines]
    names = list(dict.fromkeys(material.picture for material in used if material.picture))
    picture_of_material = [names.index(m.picture) if m.picture else -1 for m in used]
    colors = np.array([material.color for material in used]).reshape(-1, 3)
    return Contents(
        vertices,
        indices[..., 0],
        vertex_colors,
        colors[material_of_face] if vertex_colors is None else None,
        uvs[indices[..., 1]] if names else None,
        tuple(Picture(name, functools.partial(_open_picture, folder, name)) for name in names),
        np.array(picture_of_material, int)[material_of_face],
        problems=tuple(problems),
    )


def decode(data: bytes) -> str:
    """Text of any encoding: UTF-8, UTF-16 with its mark, or what charset-normalizer guesses."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        import charset_normalizer

        beyond_ascii = b"\n".join(re.findall(rb"[^\n]*[\x80-\xff][^\n]*", data)[:1000])
        guess = charset_normalizer.from_bytes(beyond_ascii).best()
        return data.decode(guess.encoding if guess else "latin-1", errors="replace")


def _sorted_lines(text: str) -> Lines:
    """One walk through the file."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\\\n", " ")
    lines = Lines([], [], [], [], [], {})
    material, in_run = "", False
    for line in text.split("\n"):
        words = line.split(None, 1)
        key, value = words if len(words) == 2 else (line.strip(), "")
        if key == "f":
            if not in_run:
                counts = len(lines.faces), len(lines.vertices), len(lines.uvs)
                lines.runs.append(Run(*counts, material))
                in_run = True
            lines.faces.append(value)
            continue
        if key == "v":
            lines.vertices.append(value)
        elif key == "vt":
            lines.uvs.append(value)
        elif key == "usemtl":
            material = value.strip()
        elif key == "mtllib":
            lines.libraries.append(value.strip())
        elif key in NOT_READ:
            lines.not_read[key] = lines.not_read.get(key, 0) + 1
        else:
            continue  # a normal, a comment, a name: the run goes on
        in_run = False
    return lines


def _table(rows: list, key: str) -> np.ndarray:
    """(N, C) numbers of lines, NaN where a line has less than the longest."""
    widths = np.fromiter(map(len, map(str.split, rows)), int, len(rows))
    try:
        numbers = np.fromiter(map(float, " ".join(rows).split()), float, widths.sum())
    except ValueError as error:
        raise MeshFileError(f"a line of {key} is not of numbers: {error}") from error
    columns = widths.max(initial=0)
    if (widths == columns).all():
        return numbers.reshape(len(rows), columns)
    table = np.full((len(rows), columns), np.nan)
    table[np.arange(columns) < widths[:, None]] = numbers
    return table


def _vertices(table: np.ndarray) -> tuple:
    """Positions, and colours if there are any: x y z, x y z w, x y z r g b, x y z w r g b."""
    columns = table.shape[1]
    if columns < 3:
        table = np.pad(table, ((0, 0), (0, 3 - columns)), constant_values=np.nan)
    if columns < 6:
        return table[:, :3], None
    colors = np.nan_to_num(table[:, 3:6] if columns == 6 else table[:, 4:7], nan=1.0)
    if colors.max() > 1:  # some programs write 0 to 255
        colors = colors / 255
    return table[:, :3], np.rint(np.clip(colors, 0, 1) * 255) / 255  # in 8 bits, as they were


def _fans(counts: np.ndarray) -> tuple:
    """Triangles of polygons: (F, 3) numbers of corners, and (F,) of polygons."""
    triangles = np.maximum(counts - 2, 0)
    polygons = np.repeat(np.arange(len(counts)), triangles)
    first_corners = (np.cumsum(counts) - counts)[polygons]
    nth = np.arange(len(polygons)) - (np.cumsum(triangles) - triangles)[polygons]
    return np.stack([first_corners, first_corners + nth + 1, first_corners + nth + 2], 1), polygons


def _indices(lines: Lines, counts: np.ndarray, num_vertices: int, num_uvs: int) -> np.ndarray:
    """(C, 2) of all corners: vertex, from 0, and UV, which is num_uvs where there is none.

    A relative index, below 0, counts back from where it stands in the file.
    """
    words = " ".join(lines.faces).split()
    try:
        written = _written_indices(words)
    except ValueError as error:
        raise MeshFileError(f"a face is not of indices: {error}") from error
    indices = written - 1
    if (written < 0).any():
        run_of_line = np.zeros(len(counts), int)
        run_of_line[[run.first_face for run in lines.runs[1:]]] = 1
        before = np.array([(run.num_vertices, run.num_uvs) for run in lines.runs])
        before = np.repeat(before[np.cumsum(run_of_line)], counts, axis=0)
        indices = np.where(written < 0, written + before, indices)
    wrong = (indices[:, 0] < 0) | (indices[:, 0] >= num_vertices)
    if wrong.any():
        raise MeshFileError(
            f"a face has the corner {words[wrong.argmax()]!r}, "
            f"but its {num_vertices} vertices count from 1"
        )
    indices[(indices[:, 1] < 0) | (indices[:, 1] > num_uvs), 1] = num_uvs
    return indices


def _written_indices(words: list) -> np.ndarray:
    """(C, 2), vertex and UV of `7`, `7/8`, `7//9` or `7/8/9`; 0 for a UV that is left out."""
    if len({word.count("/") for word in words}) == 1:  # all alike: the quick way
        text = " ".join(words).replace("//", "/0/").replace("/", " ")
        numbers = np.fromiter(map(int, text.split()), np.int64)
        if len(numbers) % len(words) == 0:
            table = numbers.reshape(len(words), -1)[:, :2]
            return np.pad(table, ((0, 0), (0, 2 - table.shape[1])))
    pairs = [[int(index or 0) for index in (word + "/").split("/")[:2]] for word in words]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _materials(lines: Lines, folder: Folder, problems: list) -> tuple:
    """The materials that faces use, and which one each face line uses."""
    materials: dict = {}
    for library in lines.libraries:
        _read_library(library, folder, materials, problems)
    names = list(dict.fromkeys(run.material for run in lines.runs))
    if not folder.missing:
        unknown = [name for name in names if name and name not in materials]
        problems += [f"the material {name} is in no material file" for name in unknown]
    lengths = np.diff([run.first_face for run in lines.runs] + [len(lines.faces)])
    material_of_run = np.array([names.index(run.material) for run in lines.runs], int)
    used = [materials.get(name, Material()) for name in names]
    return used, np.repeat(material_of_run, lengths[: len(material_of_run)])


def _read_library(library: str, folder: Folder, materials: dict, problems: list) -> None:
    """Adds the materials of `mtllib`: one file whose name may have spaces, or several."""
    try:
        materials.update(_parsed_materials(decode(folder.get(library))))
    except OSError as error:
        if " " not in library:
            problems.append(f"the material file {error}")
        for name in library.split() if " " in library else ():
            _read_library(name, folder, materials, problems)


def _parsed_materials(text: str) -> dict:
    """The materials of an MTL file by name."""
    materials, name = {}, ""
    for line in text.splitlines():
        key, value = (line.split(None, 1) + ["", ""])[:2]
        if key == "newmtl":
            name = value.strip()
            materials[name] = Material()
        elif key.lower() == "map_kd" and name:
            materials[name] = materials[name]._replace(picture=OPTIONS.sub("", value).strip())
        elif key.lower() == "kd" and name:
            with contextlib.suppress(ValueError):  # a spectrum
                red, green, blue = (min(max(float(word), 0.0), 1.0) for word in value.split()[:3])
                materials[name] = materials[name]._replace(color=(red, green, blue))
    return materials


def _open_picture(folder: Folder, name: str):
    import PIL.Image

    return PIL.Image.open(folder.find(name))
