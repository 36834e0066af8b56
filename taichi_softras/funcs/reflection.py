"""What a surface sends to the eye of the light of one direction; each adjoint below its primal.

Directions have length 1, or are 0, where nothing is sent. A white matt surface sends back the
cosine of the light's direction to its normal: factors of pi are left to the light's unit.
"""

from taichi_softras.funcs.numeric import exp, log
from taichi_softras.funcs.vectors import dot, unit_normal, unit_normal_vjp
from taichi_softras.runtime import ti, vec2, vec3, vec4

SMALLEST_BASE = 1e-6  # of a power: the highlight is 0 below
LEAST_ALPHA = 1e-3  # roughness^2: a perfect mirror would show a point light nowhere
# Lazarov's fit of what is mirrored of light from all around, as Karis has it
FIT_SLOPE, FIT_START = (-1.0, -0.0275, -0.572, 0.022), (1.0, 0.0425, 1.04, -0.04)
FIT_FALL, FIT_SPAN = -9.28 * 0.6931471805599453, 1.04
DIELECTRIC = 0.04  # reflected by what is no metal, seen straight on (index of refraction 1.5)


@ti.func
def turn_to_eye(normal: vec3, face_normal: vec3, to_eye: vec3) -> vec3:
    """The unit normal of a point, of the side of its face that the eye sees.

    Args:
        normal: of any length, world.
        face_normal: of the whole face; 0 if its back is not to be lit as its front.
        to_eye: from the point to the eye, of any length.
    """
    side = ti.select(dot(face_normal, to_eye) < 0.0, -1.0, 1.0)
    return side * unit_normal(normal)


@ti.func
def turn_to_eye_vjp(normal: vec3, face_normal: vec3, to_eye: vec3, grad_turned: vec3) -> vec3:
    """The gradient with respect to `normal`; the side has none."""
    side = ti.select(dot(face_normal, to_eye) < 0.0, -1.0, 1.0)
    return unit_normal_vjp(normal, side * grad_turned)


@ti.func
def phong(
    is_blinn: ti.template(),
    normal: vec3,
    to_eye: vec3,
    to_light: vec3,
    albedo: vec3,
    specular: vec3,
    shininess: float,
) -> vec3:
    """Matt light, and a highlight around the mirrored light (Phong 1975), or halfway (Blinn 1977).

    Args:
        is_blinn: whether the highlight is that of Blinn.
        normal: world, length 1, as the next two.
        to_eye: from the point.
        to_light: from the point.
        albedo: the matt part.
        specular: the highlight's colour.
        shininess: its power.
    """
    cosine = ti.max(dot(normal, to_light), 0.0)
    return albedo * cosine + specular * highlight(is_blinn, normal, to_eye, to_light, shininess)


@ti.func
def phong_vjp(
    is_blinn: ti.template(),
    normal: vec3,
    to_eye: vec3,
    to_light: vec3,
    albedo: vec3,
    specular: vec3,
    shininess: float,
    grad_color: vec3,
):
    """Gradients with respect to all vectors and `shininess`, a struct; with the `color` itself."""
    cosine = ti.max(dot(normal, to_light), 0.0)
    power = highlight(is_blinn, normal, to_eye, to_light, shininess)
    grads = highlight_vjp(
        is_blinn, normal, to_eye, to_light, shininess, power, dot(grad_color, specular)
    )
    grad_cosine = ti.select(cosine > 0.0, dot(grad_color, albedo), 0.0)
    return ti.Struct(
        color=albedo * cosine + specular * power,
        normal=grads.normal + grad_cosine * to_light,
        to_eye=grads.to_eye,
        to_light=grads.to_light + grad_cosine * normal,
        albedo=grad_color * cosine,
        specular=grad_color * power,
        shininess=grads.shininess,
    )


@ti.func
def highlight_base(is_blinn: ti.template(), normal: vec3, to_eye: vec3, to_light: vec3) -> float:
    """The cosine that is raised to a power."""
    base = 0.0
    if ti.static(is_blinn):
        base = dot(normal, unit_normal(to_light + to_eye))
    else:
        base = 2.0 * dot(normal, to_light) * dot(normal, to_eye) - dot(to_light, to_eye)
    return base


@ti.func
def highlight(
    is_blinn: ti.template(), normal: vec3, to_eye: vec3, to_light: vec3, shininess: float
) -> float:
    """The power, where the light is on the normal's side."""
    base = highlight_base(is_blinn, normal, to_eye, to_light)
    is_lit = (dot(normal, to_light) > 0.0) & (base > SMALLEST_BASE)
    return ti.select(is_lit, exp(shininess * log(ti.max(base, SMALLEST_BASE))), 0.0)


@ti.func
def highlight_vjp(
    is_blinn: ti.template(),
    normal: vec3,
    to_eye: vec3,
    to_light: vec3,
    shininess: float,
    power: float,
    grad_power: float,
):
    """Gradients with respect to the vectors and `shininess`, a struct; `power` is the value."""
    base = ti.max(highlight_base(is_blinn, normal, to_eye, to_light), SMALLEST_BASE)
    grad_base = grad_power * shininess * power / base
    grad_normal, grad_eye, grad_light = vec3(0.0), vec3(0.0), vec3(0.0)
    if ti.static(is_blinn):
        grad_normal = grad_base * unit_normal(to_light + to_eye)
        grad_eye = unit_normal_vjp(to_light + to_eye, grad_base * normal)
        grad_light = grad_eye
    else:
        along_light, along_eye = dot(normal, to_light), dot(normal, to_eye)
        grad_normal = 2.0 * grad_base * (along_eye * to_light + along_light * to_eye)
        grad_eye = grad_base * (2.0 * along_light * normal - to_light)
        grad_light = grad_base * (2.0 * along_eye * normal - to_eye)
    return ti.Struct(
        normal=grad_normal,
        to_eye=grad_eye,
        to_light=grad_light,
        shininess=grad_power * power * log(base),
    )


@ti.func
def metallic_roughness(
    normal: vec3, to_eye: vec3, to_light: vec3, base_color: vec3, metallic: float, roughness: float
) -> vec3:
    """Pi times the reflectance, times the cosine, of glTF 2.0's material (appendix B).

    The diffuse part is (1 - F) c; the specular one F D V with the distribution D of
    Trowbridge-Reitz (GGX), Smith's visibility V in its separable form, Schlick's F. alpha is
    roughness^2, at least `LEAST_ALPHA`.

    Args:
        normal: world, length 1, as the next two.
        to_eye: from the point.
        to_light: from the point.
        base_color: of a metal what it mirrors, otherwise its matt part.
        metallic: 0 to 1.
        roughness: 0 to 1.
    """
    lobe = specular_lobe(normal, to_eye, to_light, roughness)
    straight = DIELECTRIC + (base_color - DIELECTRIC) * metallic
    fresnel = straight + (1.0 - straight) * lobe.grazing
    matt = (1.0 - metallic) * base_color
    cosine = ti.max(dot(normal, to_light), 0.0)
    return cosine * (matt + fresnel * (lobe.strength - matt))


@ti.func
def metallic_roughness_vjp(
    normal: vec3,
    to_eye: vec3,
    to_light: vec3,
    base_color: vec3,
    metallic: float,
    roughness: float,
    grad_color: vec3,
):
    """Gradients with respect to all arguments, a struct; with the `color` itself."""
    lobe = specular_lobe(normal, to_eye, to_light, roughness)
    straight = DIELECTRIC + (base_color - DIELECTRIC) * metallic
    fresnel = straight + (1.0 - straight) * lobe.grazing
    matt = (1.0 - metallic) * base_color
    cosine = ti.max(dot(normal, to_light), 0.0)

    reflected = matt + fresnel * (lobe.strength - matt)
    grad_cosine = ti.select(cosine > 0.0, dot(grad_color, reflected), 0.0)
    grad_reflected = cosine * grad_color
    grad_fresnel = grad_reflected * (lobe.strength - matt)
    grad_straight = grad_fresnel * (1.0 - lobe.grazing)
    grad_matt = grad_reflected * (1.0 - fresnel)
    grads = specular_lobe_vjp(
        normal,
        to_eye,
        to_light,
        roughness,
        lobe,
        dot(grad_reflected, fresnel),
        dot(grad_fresnel, 1.0 - straight),
    )
    return ti.Struct(
        color=cosine * reflected,
        normal=grads.normal + grad_cosine * to_light,
        to_eye=grads.to_eye,
        to_light=grads.to_light + grad_cosine * normal,
        base_color=metallic * grad_straight + (1.0 - metallic) * grad_matt,
        metallic=dot(grad_straight, base_color - DIELECTRIC) - dot(grad_matt, base_color),
        roughness=grads.roughness,
    )


@ti.func
def specular_lobe(normal: vec3, to_eye: vec3, to_light: vec3, roughness: float):
    """`strength`, pi D V, and `grazing`, (1 - |V . H|)^5 of Schlick's F.

    Returns:
        A struct of these, and of what the adjoint needs of the way there.
    """
    half = unit_normal(to_light + to_eye)
    squared = squared_alpha(roughness)
    divisor = spread(normal, half, squared)
    inverse = ti.select(dot(normal, half) > 0.0, 1.0 / divisor, 0.0)
    of_light = masking(dot(normal, to_light), squared)
    of_eye = masking(dot(normal, to_eye), squared)
    away = 1.0 - ti.abs(dot(to_eye, half))
    return ti.Struct(
        strength=squared * inverse * inverse / (of_light * of_eye),
        grazing=away * away * away * away * away,
        half=half,
        squared=squared,
        inverse=inverse,
        of_light=of_light,
        of_eye=of_eye,
        away=away,
    )


@ti.func
def specular_lobe_vjp(
    normal: vec3,
    to_eye: vec3,
    to_light: vec3,
    roughness: float,
    lobe: ti.template(),  # its value
    grad_strength: float,
    grad_grazing: float,
):
    """Gradients with respect to the vectors and `roughness`, a struct."""
    half, squared, of_light, of_eye = lobe.half, lobe.squared, lobe.of_light, lobe.of_eye
    along_half, along_light = dot(normal, half), dot(normal, to_light)
    along_eye, eye_half = dot(normal, to_eye), dot(to_eye, half)

    grad_log = grad_strength * lobe.strength  # of its logarithm: each factor has its own share
    grad_divisor = -2.0 * grad_log * lobe.inverse
    grad_along_half = 2.0 * (squared - 1.0) * along_half * grad_divisor
    slope_light = masking_slopes(along_light, squared, of_light)
    slope_eye = masking_slopes(along_eye, squared, of_eye)
    grad_along_light = -grad_log / of_light * slope_light.cosine
    grad_along_eye = -grad_log / of_eye * slope_eye.cosine
    grad_squared = grad_log / squared + grad_divisor * along_half * along_half
    grad_squared -= grad_log * (slope_light.squared / of_light + slope_eye.squared / of_eye)

    grad_eye_half = -5.0 * lobe.away * lobe.away * lobe.away * lobe.away * grad_grazing
    grad_eye_half *= ti.select(eye_half < 0.0, -1.0, 1.0)
    grad_half = grad_along_half * normal + grad_eye_half * to_eye
    grad_sum = unit_normal_vjp(to_light + to_eye, grad_half)
    alpha = roughness * roughness
    grad_alpha = ti.select(alpha > LEAST_ALPHA, 2.0 * alpha * grad_squared, 0.0)
    return ti.Struct(
        normal=grad_along_half * half + grad_along_light * to_light + grad_along_eye * to_eye,
        to_eye=grad_sum + grad_along_eye * normal + grad_eye_half * half,
        to_light=grad_sum + grad_along_light * normal,
        roughness=2.0 * roughness * grad_alpha,
    )


@ti.func
def squared_alpha(roughness: float) -> float:
    """alpha^2."""
    alpha = ti.max(roughness * roughness, LEAST_ALPHA)
    return alpha * alpha


@ti.func
def spread(normal: vec3, half: vec3, squared: float) -> float:
    """(N . H)^2 (alpha^2 - 1) + 1 of unit vectors, without the cancellation near N = H."""
    along = dot(normal, half)
    return normal.cross(half).norm_sqr() + squared * along * along


@ti.func
def masking(cosine: float, squared: float) -> float:
    """|c| + sqrt(alpha^2 + (1 - alpha^2) c^2) of one direction."""
    return ti.abs(cosine) + ti.sqrt(squared + (1.0 - squared) * cosine * cosine)


@ti.func
def masking_slopes(cosine: float, squared: float, value: float):
    """Its derivatives by `cosine` and `squared`, a struct; `value` is the masking."""
    root = value - ti.abs(cosine)
    sign = ti.select(cosine < 0.0, -1.0, 1.0)
    return ti.Struct(
        cosine=sign + (1.0 - squared) * cosine / root,
        squared=0.5 * (1.0 - cosine * cosine) / root,
    )


@ti.func
def mirrored_place(inputs, uniforms):
    """Where an environment is mirrored, and how wide the mirror blurs it: r = 2 (n . v) n - v.

    Args:
        inputs: a normal of any length, a point, the roughness, the eye.
        uniforms: none.

    Returns:
        r, and alpha, as a share of half a turn: seen straight on, the lobe (GGX) is 2.6 alpha
        radians wide at half its height.
    """
    normal = unit_normal(inputs[0:3])
    to_eye = unit_normal(inputs[7:10] - inputs[3:6])
    mirrored = 2.0 * dot(normal, to_eye) * normal - to_eye
    return vec4(mirrored, ti.max(inputs[6] * inputs[6], LEAST_ALPHA))


@ti.func
def mirrored_place_vjp(inputs, uniforms, grad_place):
    """The adjoint of `mirrored_place`, as that of a fragment."""
    normal, offset = unit_normal(inputs[0:3]), inputs[7:10] - inputs[3:6]
    to_eye, grad = unit_normal(offset), vec3(grad_place[0], grad_place[1], grad_place[2])
    by_normal = 2.0 * (dot(normal, to_eye) * grad + dot(normal, grad) * to_eye)
    grad_eye = unit_normal_vjp(offset, 2.0 * dot(normal, grad) * normal - grad)
    roughness = inputs[6]
    grads = inputs * 0.0
    grads[0:3] = unit_normal_vjp(inputs[0:3], by_normal)
    grads[3:6] = -grad_eye
    grads[6] = ti.select(roughness * roughness > LEAST_ALPHA, 2.0 * roughness * grad_place[3], 0.0)
    grads[7:10] = grad_eye
    return ti.Struct(varyings=grads)


@ti.func
def mirrored_shares(cosine: float, roughness: float) -> vec2:
    """A and b: of light that is the same all around, F_0 a + b is mirrored by microfacets (GGX).

    The split sum's second factor: B. Karis, "Physically Based Shading on Mobile", 2014, after D.
    Lazarov, "Getting More Physical in Call of Duty: Black Ops II", SIGGRAPH 2013.

    Args:
        cosine: of the direction to the eye to the normal, at least 0.
        roughness: 0 to 1.
    """
    fit = roughness * vec4(FIT_SLOPE) + vec4(FIT_START)
    middle = ti.min(fit.x * fit.x, exp(FIT_FALL * cosine)) * fit.x + fit.y
    return vec2(fit.z - FIT_SPAN * middle, fit.w + FIT_SPAN * middle)


@ti.func
def mirrored_shares_vjp(cosine: float, roughness: float, grad_shares: vec2):
    """Gradients with respect to `cosine` and `roughness`, a struct."""
    fit = roughness * vec4(FIT_SLOPE) + vec4(FIT_START)
    squared, falling = fit.x * fit.x, exp(FIT_FALL * cosine)
    is_square = squared < falling
    grad_middle = FIT_SPAN * (grad_shares.y - grad_shares.x)
    by_x = ti.select(is_square, 3.0 * squared, falling) * grad_middle
    of_fit = vec4(by_x, grad_middle, grad_shares.x, grad_shares.y)
    by_cosine = ti.select(is_square, 0.0, FIT_FALL * falling * fit.x * grad_middle)
    return ti.Struct(cosine=by_cosine, roughness=dot(of_fit, vec4(FIT_SLOPE)))


@ti.func
def reflect_environment(  # what is reflected, and of which light
    normal: vec3,
    to_eye: vec3,
    base_color: vec3,
    metallic: float,
    roughness: float,
    around: vec3,
    mirrored: vec3,
) -> vec3:
    """What is sent to the eye of an environment: M mirrored + (1 - M) (1 - metallic) base around.

    M is F_0 a + b of `mirrored_shares`.

    Args:
        normal: world, length 1, as the next.
        to_eye: from the point.
        base_color: as of `metallic_roughness`, as the next two.
        metallic: 0 to 1.
        roughness: 0 to 1.
        around: what a white matt surface sends back.
        mirrored: the environment at the mirrored direction, blurred by the roughness.
    """
    shares = mirrored_shares(ti.max(dot(normal, to_eye), 0.0), roughness)
    mirror = (DIELECTRIC + (base_color - DIELECTRIC) * metallic) * shares.x + shares.y
    matt = (1.0 - metallic) * base_color * around
    return matt + mirror * (mirrored - matt)


@ti.func
def reflect_environment_vjp(
    normal: vec3,
    to_eye: vec3,
    base_color: vec3,
    metallic: float,
    roughness: float,
    around: vec3,
    mirrored: vec3,
    grad_color: vec3,
):
    """Gradients with respect to all arguments, a struct."""
    cosine = dot(normal, to_eye)
    shares = mirrored_shares(ti.max(cosine, 0.0), roughness)
    straight = DIELECTRIC + (base_color - DIELECTRIC) * metallic
    mirror = straight * shares.x + shares.y
    albedo = (1.0 - metallic) * base_color
    grad_mirror = grad_color * (mirrored - albedo * around)
    grad_matt = grad_color * (1.0 - mirror)
    grads = mirrored_shares_vjp(
        ti.max(cosine, 0.0), roughness, vec2(dot(grad_mirror, straight), grad_mirror.sum())
    )
    grad_cosine = ti.select(cosine > 0.0, grads.cosine, 0.0)
    grad_straight, grad_albedo = shares.x * grad_mirror, grad_matt * around
    by_metallic = dot(grad_straight, base_color - DIELECTRIC) - dot(grad_albedo, base_color)
    return ti.Struct(
        normal=grad_cosine * to_eye,
        to_eye=grad_cosine * normal,
        base_color=metallic * grad_straight + (1.0 - metallic) * grad_albedo,
        metallic=by_metallic,
        roughness=grads.roughness,
        around=grad_matt * albedo,
        mirrored=grad_color * mirror,
    )
