"""Lights and materials in NumPy, from their definitions: (N, numbers) rows in, (N, 3) colours out.

KHR_lights_punctual for the cone, Ramamoorthi and Hanrahan's equation 13 for harmonics, appendix B
of glTF 2.0 for the metallic-roughness material.
"""

import numpy as np

from taichi_softras.funcs.lights import AMBIENT, DIRECTIONAL, ENVIRONMENT, HARMONICS, SPOT


def dot(a, b):
    return (a * b).sum(axis=-1, keepdims=True)


def normalized(vectors):
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def incident(kind, light, point):
    """Unit directions towards the lights, and the colours that arrive."""
    color = light[:, 3:6]
    if kind == DIRECTIONAL:
        return normalized(light[:, :3]), color
    offset = light[:, :3] - point
    distance = np.linalg.norm(offset, axis=1)
    color = color / (light[:, 6] + light[:, 7] * distance + light[:, 8] * distance**2)[:, None]
    direction = normalized(offset)
    if kind == SPOT:
        inner, outer = np.cos(np.radians(light[:, 12:13])), np.cos(np.radians(light[:, 13:14]))
        cosine = -dot(direction, normalized(light[:, 9:12]))
        color = color * np.clip((cosine - outer) / np.maximum(inner - outer, 1e-3), 0, 1) ** 2
    return direction, color


def irradiance(coefficients, normal):
    """(N, 9, 3) coefficients; the light that arrives over pi: equation 13."""
    c1, c2 = np.sqrt(15 * np.pi) / 16, np.sqrt(np.pi / 3) / 2  # 0.429043, 0.511664
    c3, c4 = 3 * np.sqrt(5 * np.pi) / 16, np.sqrt(np.pi) / 2  # 0.743125, 0.886227
    c5 = c3 / 3  # 0.247708
    l00, l1m1, l10, l11, l2m2, l2m1, l20, l21, l22 = np.moveaxis(coefficients, 1, 0)
    x, y, z = normal.T[..., None]
    total = c4 * l00 + 2 * c2 * (l11 * x + l1m1 * y + l10 * z)
    total = total + 2 * c1 * (l2m2 * x * y + l21 * x * z + l2m1 * y * z)
    total = total + c1 * l22 * (x * x - y * y) + c3 * l20 * z * z - c5 * l20
    return total / np.pi


def matt(kind, light, normal, point):
    """What a white matt surface sends back."""
    if kind == AMBIENT:
        return light
    if kind in (HARMONICS, ENVIRONMENT):
        return irradiance(light.reshape(-1, 9, 3), normal)
    direction, color = incident(kind, light, point)
    return color * np.maximum(dot(normal, direction), 0)


def phong(is_blinn, normal, to_eye, to_light, albedo, specular, shininess):
    """Unit vectors in."""
    cosine = dot(normal, to_light)
    base = dot(normal, normalized(to_light + to_eye))
    if not is_blinn:
        base = dot(to_eye, 2 * cosine * normal - to_light)
    shine = np.where((cosine > 0) & (base > 0), np.maximum(base, 1e-300) ** shininess, 0)
    return albedo * np.maximum(cosine, 0) + specular * shine


def gltf_brdf(normal, to_eye, to_light, base_color, metallic, roughness):
    """f_diffuse + f_specular of appendix B, unit vectors in."""
    half = normalized(to_light + to_eye)
    n_l, n_v, n_h = dot(normal, to_light), dot(normal, to_eye), dot(normal, half)
    h_l, h_v = dot(half, to_light), dot(half, to_eye)
    alpha = roughness**2
    distribution = alpha**2 * (n_h > 0) / (np.pi * (n_h**2 * (alpha**2 - 1) + 1) ** 2)
    visibility = (h_l > 0) / (np.abs(n_l) + np.sqrt(alpha**2 + (1 - alpha**2) * n_l**2))
    visibility = visibility * (h_v > 0)
    visibility = visibility / (np.abs(n_v) + np.sqrt(alpha**2 + (1 - alpha**2) * n_v**2))
    c_diff = base_color * (1 - metallic)
    f0 = 0.04 * (1 - metallic) + base_color * metallic
    fresnel = f0 + (1 - f0) * (1 - np.abs(h_v)) ** 5
    return (1 - fresnel) * c_diff / np.pi + fresnel * distribution * visibility


def metallic_roughness(normal, to_eye, to_light, base_color, metallic, roughness):
    """What is sent to the eye of light that a white matt surface sends back as its cosine."""
    brdf = gltf_brdf(normal, to_eye, to_light, base_color, metallic, roughness)
    return np.pi * brdf * np.maximum(dot(normal, to_light), 0)
