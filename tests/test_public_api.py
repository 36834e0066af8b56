"""The names at the front door. Adding one is a decision, removing one breaks somebody's code."""

import taichi_softras as tsr


def test_names():
    assert sorted(tsr.__all__) == [
        "Adam",
        "AmbientLight",
        "Antialiased",
        "ApproximateGradient",
        "Camera",
        "Depth",
        "DirectionalLights",
        "EnvironmentMap",
        "FilteredDerivative",
        "Flat",
        "GaussNewton",
        "Gouraud",
        "Intrinsics",
        "KNearest",
        "Lights",
        "Material",
        "Mesh",
        "Orthographic",
        "Perspective",
        "Phong",
        "PhysicallyBased",
        "PointLights",
        "Prefiltered",
        "Renderer",
        "SGD",
        "Scene",
        "Shading",
        "Silhouette",
        "SoftAggregation",
        "SphericalHarmonics",
        "SpotLights",
        "Texture",
        "Unlit",
        "camera_conventions",
        "fragments",
        "images",
        "losses",
        "orbit",
        "primitives",
        "rasterize",
        "rotate",
        "scripts",
        "testing",
        "visible_faces",
    ]


def test_every_name_is_there_and_documented():
    for name in tsr.__all__:
        assert getattr(tsr, name).__doc__, name


def test_version_is_three_numbers():
    assert [part.isdigit() for part in tsr.__version__.split(".")] == [True] * 3
