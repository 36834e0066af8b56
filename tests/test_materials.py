"""Textures and materials on a mesh: the right picture, and exact gradients through all of it."""

import re
from pathlib import Path

import numpy as np
import pytest

import taichi_softras as tsr
from taichi_softras.runtime import ti
from taichi_softras.scene import primitives
from tests import tolerances
from tests.gradcheck import check_gradient
from tests.rarely import rarely

README = Path(__file__).parents[1] / "README.md"
SIZE = (20, 24)
DEPTHS = {"near": 0.5, "far": 6.0}
RASTERIZERS = {
    "soft": tsr.SoftAggregation(**DEPTHS, sigma=3e-4),
    "nearest": tsr.KNearest(**DEPTHS, faces_per_pixel=60, sigma=3e-4, gamma=1e-2),
    "prefiltered": tsr.Prefiltered(**DEPTHS),
}
Z_BUFFER = tsr.FilteredDerivative(**DEPTHS, overdraw=False)


# At seed 0 a pixel looks up a point so near to a line of texel centres, where slopes change, that
# the differences step over it
def ball(seed=1, filter="bilinear", bends=False, **options):
    """An icosahedron of two materials, the first with a texture, UVs with seams."""
    random = np.random.default_rng(seed)
    vertices, faces = primitives.icosphere(0)
    vertices = vertices + 0.05 * random.normal(size=vertices.shape)
    uvs = random.uniform(-0.7, 1.6, (24, 2))
    texture = tsr.Texture(random.uniform(size=(5, 4, 3)), filter)
    bent = tsr.Texture(random.uniform(0.3, 0.9, (3, 5, 3))) if bends else None
    return tsr.Mesh(
        vertices,
        faces,
        random.uniform(size=(len(vertices), 3)),
        uvs=uvs,
        uv_faces=random.integers(0, 24, faces.shape),
        materials=[
            tsr.Material(
                base_color=(0.9, 0.7, 0.8), base_color_texture=texture, normal_texture=bent
            ),
            tsr.Material(base_color=(0.3, 0.6, 0.5)),
        ],
        face_materials=random.integers(0, 2, len(faces)),
        **options,
    )


ROOM = np.array([1.5, 1.0, 2.0])
WALLS = [(axis, sign) for axis in range(3) for sign in (-1.0, 1.0)]


def wall_places(points, axis):
    """UVs of points on a wall across an axis; no edge is where texels meet."""
    return (np.delete(points, axis, axis=-1) + 2.5) / 5.0


def room(picture, filters, shift=0.0):
    """A box from within: two faces a wall, whose texture has one filter or the other in turn."""
    corners, uvs = [], []
    for axis, sign in WALLS:
        places = np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])
        wall = np.insert(places, axis, sign, axis=1) * ROOM
        corners.append(wall)
        uvs.append(wall_places(wall, axis))
    faces = np.array([np.add(k, 4 * wall) for wall in range(6) for k in ((0, 1, 2), (0, 2, 3))])
    vertices = np.concatenate(corners)
    first, second = (tsr.Texture(picture, name) for name in filters)
    return tsr.Mesh(
        vertices + shift * np.random.default_rng(5).normal(size=vertices.shape),
        faces,
        uvs=np.concatenate(uvs),
        materials=[
            tsr.Material(base_color_texture=first),
            tsr.Material((0.5, 0.6, 0.7), base_color_texture=second),
        ],
        face_materials=np.arange(12) // 2 % 2,
    )


EYE, AT, FOV = np.array([0.2, 0.1, 0.5]), np.array([1.0, 0.3, -2.0]), 75.0


def in_the_room():
    return tsr.Camera.look_at(EYE, AT, fov_y_degrees=FOV)


def camera():
    return tsr.Camera.look_at((1.0, 1.2, 2.4))


@pytest.mark.gradients
@pytest.mark.f64
@pytest.mark.parametrize(
    "name, filter",
    [
        ("soft", "trilinear"),
        rarely("nearest", None),
        rarely("prefiltered", "bilinear"),
    ],
)
def test_gradients_are_central_differences(backend, name, filter):
    """Of a ball; without a filter of a room from within, whose faces are cut."""
    if filter is None:
        picture = np.random.default_rng(3).uniform(size=(6, 7, 3))
        mesh = room(picture, ("bilinear", "bilinear"), shift=0.03)  # nearest samples jump
        cameras, options = in_the_room(), {"near_clip": 0.6}
    else:
        mesh, cameras, options = ball(filter=filter), camera(), {}
    renderer = tsr.Renderer(mesh, cameras, SIZE, RASTERIZERS[name], tsr.Unlit(), **options)
    first, last = mesh.materials
    inputs = {
        "uvs": mesh.uvs,
        "texels": first.base_color_texture.image,
        "base color": last.base_color,
        "vertex colors": mesh.vertex_colors,
        "vertices": mesh.vertices,
        "eye": cameras.eye,
    }
    check_gradient(renderer.render, inputs, renderer.image)


@pytest.mark.gradients
@pytest.mark.f64
def test_gradients_of_bent_normals(backend):
    """A normal texture bends the output "normal_world"."""
    mesh = ball(bends=True)
    renderer = tsr.Renderer(
        mesh, camera(), SIZE, RASTERIZERS["soft"], tsr.Silhouette(), outputs=["normal_world"]
    )
    first = mesh.materials[0]
    inputs = {
        "uvs": mesh.uvs,
        "normal texels": first.normal_texture.image,
        "normal scale": first.normal_scale,
        "vertices": mesh.vertices,
    }
    check_gradient(renderer.render, inputs, renderer.outputs["normal_world"])


def quad(size=1.0):
    """Two faces that fill an orthographic image; (u, v) = (0, 0) is at the lower left."""
    vertices = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * [size, size, 1.0]
    return vertices, np.array([[0, 1, 2], [0, 2, 3]]), (vertices[:, :2] / size + 1.0) / 2.0


def facing(image, rasterizer=Z_BUFFER, image_size=None, uv_scale=1.0, **options):
    """The RGB that a texture on a quad shows to a camera in front of it."""
    vertices, faces, uvs = quad()
    texture = tsr.Texture(image, **options)
    mesh = tsr.Mesh(
        vertices,
        faces,
        uvs=uvs * uv_scale,
        materials=tsr.Material(base_color_texture=texture),
    )
    cameras = tsr.Camera.look_at((0.0, 0.0, 3.0), projection=tsr.Orthographic(2.0))
    size = np.shape(image)[:2] if image_size is None else image_size
    renderer = tsr.Renderer(mesh, cameras, size, rasterizer, tsr.Unlit())
    return renderer.render().to_numpy()[0]


@pytest.mark.parametrize("filter", ["nearest", "bilinear", "trilinear"])
def test_a_picture_on_a_quad_is_the_picture(backend, filter):
    """Texels are pixels: not mirrored, not moved; so all filters agree."""
    picture = np.random.default_rng(1).uniform(size=(6, 6, 3))
    shown = facing(picture, filter=filter)
    np.testing.assert_allclose(shown[..., :3], picture, atol=tolerances.SAME_IMAGE_SINGLE)
    np.testing.assert_array_equal(shown[..., 3], 1.0)


@pytest.mark.parametrize("channels", [1, 4, 7])
def test_channels_of_a_picture(backend, channels):
    """Grey is a colour, alpha is left out, seven numbers are drawn as they are."""
    picture = np.random.default_rng(2).uniform(size=(5, 5, channels))
    shown = facing(picture)[..., :-1]
    expected = np.repeat(picture, 3, -1) if channels == 1 else picture
    expected = expected[..., :3] if channels == 4 else expected
    np.testing.assert_allclose(shown, expected, atol=tolerances.SAME_IMAGE_SINGLE)


def test_a_room_shows_where_rays_meet_its_walls(backend):
    """A camera within textured walls, most of whose faces reach behind it."""
    picture = np.random.default_rng(4).uniform(size=(8, 8, 3))
    mesh = room(picture, ("nearest", "bilinear"))
    renderer = tsr.Renderer(mesh, in_the_room(), (24, 30), Z_BUFFER, tsr.Unlit())
    image = renderer.render().to_numpy()[0].astype(float)
    np.testing.assert_array_equal(image[..., 3], 1.0)
    forward = (AT - EYE) / np.linalg.norm(AT - EYE)
    right = np.cross(forward, [0.0, 1.0, 0.0])
    right /= np.linalg.norm(right)
    y, x = (np.indices((24, 30)) * 2 + 1 - np.reshape([24, 30], (2, 1, 1))) / 24
    across = np.tan(np.radians(FOV / 2)) * np.stack([x, -y])[..., None]
    rays = forward + across[0] * right + across[1] * np.cross(right, forward)
    distances = (np.sign(rays) * ROOM - EYE) / rays
    points = EYE + distances.min(-1)[..., None] * rays
    for axis in range(3):
        is_seen = distances.argmin(-1) == axis
        place = wall_places(points[is_seen], axis) * [8, -8] + [-0.5, 7.5]  # column, row
        whole = np.floor(place).astype(int)
        part = place - whole
        blended, rounded = 0.0, np.round(place).astype(int) % 8
        for i, k in np.ndindex(2, 2):
            share = np.abs(1 - i - part[:, 1]) * np.abs(1 - k - part[:, 0])
            texel = picture[(whole[:, 1] + i) % 8, (whole[:, 0] + k) % 8]
            blended = blended + share[:, None] * texel
        is_first = rays[is_seen][:, axis] < 0  # of a pair of walls
        expected = picture[rounded[:, 1], rounded[:, 0]]
        expected[~is_first] = blended[~is_first] * [0.5, 0.6, 0.7]
        error = np.abs(image[is_seen][:, :3] - expected)
        assert error.max() < tolerances.SINGLE_PRECISION_RELATIVE


def test_wraps_on_a_quad(backend):
    """Two pictures side by side in each direction, as the wrap says."""
    picture = np.random.default_rng(3).uniform(size=(4, 4, 3))
    shown = {
        wrap: facing(picture, image_size=(8, 8), uv_scale=2.0, filter="nearest", wrap=wrap)
        for wrap in ("repeat", "mirror", "zero")
    }
    # (0, 0) is at the lower left, so the first picture is there
    expected = np.tile(picture, (2, 2, 1))
    np.testing.assert_allclose(shown["repeat"][..., :3], expected, atol=1e-6)
    row = np.concatenate([picture, picture[:, ::-1]], axis=1)
    expected = np.concatenate([row[::-1], row])
    np.testing.assert_allclose(shown["mirror"][..., :3], expected, atol=1e-6)
    expected = np.zeros((8, 8, 3))
    expected[4:, :4] = picture
    np.testing.assert_allclose(shown["zero"][..., :3], expected, atol=1e-6)


def test_a_small_picture_of_a_fine_texture_is_its_mean(backend):
    """The pyramid: a checkerboard of 64 x 64 on 4 x 4 pixels is grey."""
    board = np.indices((64, 64)).sum(0) % 2
    shown = facing(board[..., None].astype(float), image_size=(4, 4), filter="trilinear")
    np.testing.assert_allclose(shown[..., :3], 0.5, atol=tolerances.SAME_IMAGE_SINGLE)


def test_materials_of_faces_tint(backend):
    """Each face shows its own material, times the vertices' colours."""
    vertices, faces, _ = quad()
    colors = [(0.2, 0.4, 0.6), (1.0, 0.5, 0.25)]
    mesh = tsr.Mesh(
        vertices,
        faces,
        np.full((4, 3), 0.5),
        materials=[tsr.Material(color) for color in colors],
        face_materials=[1, 0],
    )
    cameras = tsr.Camera.look_at((0.0, 0.0, 3.0), projection=tsr.Orthographic(2.0))
    image = tsr.Renderer(mesh, cameras, (8, 8), Z_BUFFER, tsr.Unlit()).render().to_numpy()[0]
    np.testing.assert_allclose(image[6, 6, :3], np.multiply(colors[1], 0.5), rtol=1e-6)
    np.testing.assert_allclose(image[1, 1, :3], np.multiply(colors[0], 0.5), rtol=1e-6)


@pytest.mark.cpu
def test_the_program_of_the_readme(backend):
    """It runs, and all that it prints has a gradient."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    (program,) = (block for block in blocks if "tsr.Texture(picture)" in block)
    names = {"np": np, "tsr": tsr}
    exec(program.replace("(64, 64)", "(16, 16)").replace("64, 64, 4", "16, 16, 4"), names)
    material, mesh, lights = (names[name] for name in ("material", "mesh", "lights"))
    for field in (material.base_color_texture.image, mesh.uvs, lights[1].positions):
        assert np.abs(field.grad.to_numpy()).max() > 0


def test_backs_are_lit_where_the_material_says_so(backend):
    """Two backs face the eye and the light; the material of the second has one side."""
    vertices, faces, _ = quad()
    mesh = tsr.Mesh(
        vertices,
        faces[:, ::-1],
        materials=[tsr.Material(), tsr.Material(double_sided=False)],
        face_materials=[0, 1],
    )
    cameras = tsr.Camera.look_at((0.0, 0.0, 3.0), projection=tsr.Orthographic(2.0))
    lights = tsr.DirectionalLights([(0.0, 0.0, 1.0)], [(0.5, 0.5, 0.5)])
    renderer = tsr.Renderer(mesh, cameras, (8, 8), Z_BUFFER, tsr.Phong(), lights)
    image = renderer.render().to_numpy()[0]
    np.testing.assert_allclose(image[6, 6, :3], 0.5, rtol=1e-6)
    np.testing.assert_array_equal(image[1, 1, :3], 0.0)


@pytest.mark.cpu
def test_passes_add_up(backend):
    """Views that are drawn one by one give the same gradients as all together."""
    gradients = []
    for views_per_pass in (3, 1):
        mesh = ball(filter="trilinear")
        cameras = tsr.Camera.look_at([(1.0, 1.2, 2.4), (-2.0, 0.3, 1.5), (0.1, 2.5, 0.4)])
        renderer = tsr.Renderer(
            mesh, cameras, SIZE, Z_BUFFER, tsr.Unlit(), views_per_pass=views_per_pass
        )
        image = renderer.render().to_numpy()
        renderer.backward(np.random.default_rng(4).normal(size=image.shape))
        first = mesh.materials[0]
        fields = mesh.uvs, first.base_color_texture.image, first.base_color, mesh.vertices
        gradients.append([field.grad.to_numpy() for field in fields])
    for together, alone in zip(*gradients):
        scale = np.abs(together).max()
        np.testing.assert_allclose(alone, together, atol=tolerances.SAME_GRADIENT_SINGLE * scale)


@pytest.mark.f64
def test_jacobian_is_the_central_difference(backend):
    """By a texel, a UV and a number of a material."""
    mesh = ball(filter="trilinear")
    renderer = tsr.Renderer(mesh, camera(), SIZE, RASTERIZERS["soft"], tsr.Unlit())
    first = mesh.materials[0]
    for field in (first.base_color, mesh.uvs, first.base_color_texture.image):
        tsr.fields.place_dual(field)
        jacobian = renderer.jacobian([field])
        values = field.to_numpy()
        for index in (0, jacobian.shape[-1] // 2):
            moved = []
            for step in (1e-6, -1e-6):
                changed = values.copy()
                changed.ravel()[index] += step
                field.from_numpy(changed)
                moved.append(renderer.render().to_numpy())
            field.from_numpy(values)
            difference = (moved[0] - moved[1]) / 2e-6
            scale = np.abs(difference).max()
            error = np.abs(jacobian[..., index] - difference).max()
            assert error <= tolerances.FINITE_DIFFERENCE_RELATIVE * max(scale, 1e-12), field.shape


def test_a_mesh_without_materials_has_the_default_ones(backend):
    vertices, faces, uvs = quad()
    mesh = tsr.Mesh(vertices, faces, uvs=uvs)
    assert mesh.materials == ()
    with pytest.raises(ValueError, match="no UVs"):
        tsr.Mesh(
            vertices, faces, materials=tsr.Material(base_color_texture=tsr.Texture(np.ones((2, 2))))
        )


@pytest.mark.parametrize(
    "options, message",
    [
        ({"uvs": np.zeros((3, 2))}, "uvs are those of 4 vertices"),
        ({"uvs": np.full((4, 2), np.nan)}, "uvs"),
        ({"uvs": np.zeros((4, 2)), "uv_faces": [[0, 1, 4], [0, 1, 2]]}, "uv_faces must index 4"),
        ({"uv_faces": [[0, 1, 2], [0, 1, 2]]}, "uvs, which are missing"),
        ({"materials": [tsr.Phong] if hasattr(tsr, "Phong") else [3]}, "materials must be"),
        ({"face_materials": [0, 1]}, "face_materials must index 1"),
        ({"face_materials": [0.0, 0.0]}, "integers"),
    ],
)
def test_wrong_input_is_told(backend, options, message):
    vertices, faces, _ = quad()
    with pytest.raises(ValueError, match=message):
        tsr.Mesh(vertices, faces, **options)


@pytest.mark.parametrize("shading", [tsr.Flat(), tsr.Phong()])
def test_features_are_not_lit(backend, shading):
    vertices, faces, uvs = quad()
    texture = tsr.Texture(np.ones((2, 2, 7)))
    mesh = tsr.Mesh(vertices, faces, uvs=uvs, materials=tsr.Material(base_color_texture=texture))
    with pytest.raises(ValueError, match="7"):
        tsr.Renderer(mesh, camera(), SIZE, Z_BUFFER, shading)


def test_what_a_kernel_made_nan_is_named(backend):
    mesh = ball()
    renderer = tsr.Renderer(mesh, camera(), SIZE, Z_BUFFER, tsr.Unlit())
    mesh.materials[1].base_color.from_numpy(np.array([np.nan, 0.0, 0.0]))
    with pytest.raises(ValueError, match=r"mesh.materials\[1\].base_color"):
        renderer.render()


def test_fields_are_read_at_each_draw(backend):
    """A kernel that writes texels changes the next image, as an assigned array does."""
    mesh = ball()
    renderer = tsr.Renderer(mesh, camera(), SIZE, Z_BUFFER, tsr.Unlit())
    texture = mesh.materials[0].base_color_texture
    texture.image.fill(0.0)
    mesh.materials[1].base_color = (0.0, 0.0, 0.0)
    assert isinstance(texture.image, ti.Field)
    np.testing.assert_array_equal(renderer.render().to_numpy()[..., :3], 0.0)


@pytest.mark.cpu
def test_a_texture_without_gradient_changes_no_other(backend):
    """The same image, and the same gradients of all else; the picture is written as ever."""
    found = []
    for needs_grad in (True, False):
        mesh = ball()
        image = mesh.materials[0].base_color_texture.image.to_numpy()
        texture = tsr.Texture(image, needs_grad=needs_grad)
        material = tsr.Material((0.9, 0.7, 0.8), base_color_texture=texture)
        mesh = tsr.Mesh(
            mesh.vertices.to_numpy(),
            mesh.faces_array,
            uvs=mesh.uvs.to_numpy(),
            uv_faces=mesh.uv_faces_array,
            materials=material,
        )
        rasterizer = tsr.SoftAggregation(**DEPTHS, sigma=3e-4)
        renderer = tsr.Renderer(mesh, camera(), SIZE, rasterizer, tsr.Unlit())
        drawn = renderer.render().to_numpy()
        renderer.backward(np.random.default_rng(5).normal(size=drawn.shape))
        fields = mesh.vertices.grad, mesh.uvs.grad, material.base_color.grad
        found.append([drawn, *(field.to_numpy() for field in fields)])
        texture.image = np.zeros_like(image)
        np.testing.assert_array_equal(renderer.render().to_numpy()[..., :3], 0.0)
    for with_gradient, without in zip(*found):
        scale = np.abs(with_gradient).max()
        limit = tolerances.SAME_GRADIENT_SINGLE * scale
        np.testing.assert_allclose(without, with_gradient, atol=limit)
