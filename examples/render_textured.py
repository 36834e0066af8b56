"""A turntable of a mesh file, as the file means it: `python examples/render_textured.py shape.glb`.

Without a file it makes one, a globe with a picture and a ring of brass. Either is also written
again, and what is read of that draws the same picture.
"""

import sys
import time

import matplotlib.pyplot as plt
import numpy as np

import taichi_softras as tsr
from taichi_softras.runtime import ti


def main(path=None, steps=36, output="out/render_textured"):
    """Draws `steps` views."""
    output = tsr.scripts.folder(output)
    if path is None:
        path = output / "globe.glb"
        make_globe().save(path)
    mesh = tsr.Mesh.load(path)
    draw(mesh, steps)  # compiles
    started = time.perf_counter()
    images = draw(mesh, steps)
    result = {"milliseconds": round(1000 * (time.perf_counter() - started) / steps, 1)}
    mesh.save(output / "again.glb")
    again = draw(tsr.Mesh.load(output / "again.glb"), steps)
    result["largest_difference"] = float(np.abs(again - images).max().round(5))
    textures = {texture for one in mesh.materials for texture in one.textures if texture}
    result.update(faces=mesh.num_faces, materials=len(mesh.materials), textures=len(textures))
    tsr.scripts.save(output / "result.json", result)
    pictures = images[..., :3]
    tsr.images.save_gif(output / "turntable.gif", pictures, 12)
    chosen = pictures[np.linspace(0, steps, 4, endpoint=False).astype(int)]
    tsr.images.save_image(output / "turntable.png", np.concatenate(chosen, axis=1))
    print(result)
    return result


def draw(mesh, steps):
    """(steps, 256, 256, 4)."""
    azimuths = np.linspace(0, 360, steps, endpoint=False)
    cameras = tsr.Camera.framing(mesh, elevation_degrees=20, azimuth_degrees=azimuths)
    suns = tsr.DirectionalLights([[1, 1.5, 1], [-1, 0.5, -1]], [[0.9, 0.9, 0.8], [0.4, 0.4, 0.5]])
    light = {"shading": tsr.PhysicallyBased(), "lights": [tsr.AmbientLight((0.3, 0.3, 0.3)), suns]}
    white = tsr.SoftAggregation(background=1.0)
    renderer = tsr.Renderer(mesh, cameras, (256, 256), white, views_per_pass=1, **light)
    return renderer.render().to_numpy()


def make_globe():
    """Land and sea by random heights, and brass."""
    waves = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(128))) + 0.01
    noise = np.fft.fft2(np.random.default_rng(3).standard_normal(waves.shape))
    height = np.fft.ifft2(noise / waves**2).real
    picture = plt.cm.terrain(0.25 + 0.2 * height / height.std())[..., :3]
    land = tsr.Material(roughness=0.6, base_color_texture=tsr.Texture(picture, "trilinear"))
    brass = tsr.Material((0.9, 0.7, 0.3), metallic=0.7, roughness=0.35)
    ball, ball_faces = tsr.primitives.uv_sphere(32, 64)
    ring, ring_faces = tsr.primitives.torus(1.25, 0.07, 64, 16)
    vertices = np.concatenate([ball, ring @ [[0.9, 0.4, 0], [-0.4, 0.9, 0], [0, 0, 1]]])
    faces = np.concatenate([ball_faces, ring_faces + len(ball)])
    of_face = np.repeat([0, 1], [len(ball_faces), len(ring_faces)])
    uvs, uv_faces = tsr.primitives.globe_uvs(vertices, faces)
    look = {"uvs": uvs, "uv_faces": uv_faces, "materials": [land, brass]}
    return tsr.Mesh(vertices, faces, face_materials=of_face, **look)


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)
        main(*sys.argv[1:2])
