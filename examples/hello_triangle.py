"""A first picture and a first gradient: how much more do we see if the upper corner rises?"""

import taichi_softras as tsr
from taichi_softras.runtime import ti


@ti.kernel
def add_area(image: ti.template(), area: ti.template()):  # your own: Taichi differentiates it
    for pixel in ti.grouped(image):
        area[None] += image[pixel][3]  # red, green, blue, alpha


def main(output="out/hello_triangle"):
    output = tsr.scripts.folder(output)
    vertices, faces = tsr.primitives.triangle()
    mesh = tsr.Mesh(vertices, faces, vertex_colors=[[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    camera = tsr.Camera.look_at(eye=(0, 0, 3), fov_y_degrees=50)
    renderer = tsr.Renderer(mesh, camera, image_size=(256, 256), shading=tsr.Unlit())
    area = ti.field(float, shape=(), needs_grad=True)
    with ti.ad.Tape(area):
        renderer.render()
        add_area(renderer.image, area)
    slope = mesh.vertices.grad[0].y  # also there: colours, camera.eye, camera.fov_y_degrees, ...
    print(f"{area[None]:.0f} pixels; {slope:.0f} more for each unit that the upper corner rises")
    tsr.images.save_image(output / "triangle.png", renderer.image.to_numpy()[0])
    return {"area": area[None], "slope": slope}


if __name__ == "__main__":
    with tsr.scripts.plain_errors():
        ti.init(arch=ti.cpu, log_level=ti.ERROR)  # or ti.gpu
        main()
