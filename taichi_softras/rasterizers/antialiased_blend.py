"""Blend: an image of sharp pixels and the outlines between them in, the antialiased image out.

Of any planes: colours, alpha, or what else is drawn. A pixel shows a share of each neighbour whose
surface, or whose background, reaches into it. Shares of all four add up to `most` at most.
"""

from taichi_softras.rasterizers.neighbours import NO_EDGE
from taichi_softras.runtime import kernel, ti
from taichi_softras.workspace import array

NUM_SIDES = 4  # right, below, left, above


@ti.func
def look_at_side(shares: ti.template(), view: int, row: int, column: int, side: ti.template()):
    """What a pixel shows of a neighbour.

    Returns:
        A struct: the `share`; the neighbour's `row` and `column`, the pixel's own if it shows
        nothing of it; the `pair`, row and column of the pixel that has it; the `sign` by which the
        share follows that of the pair, 0 if it does not.
    """
    axis, sign = ti.static(side % 2, 1 if side < 2 else -1)
    down, right = ti.static(axis, 1 - axis)
    pair = ti.Vector([row, column])
    if ti.static(sign < 0):
        pair -= ti.Vector([down, right])
    is_there = pair.min() >= 0
    if ti.static(sign > 0):
        is_there = (row + down < shares.shape[2]) & (column + right < shares.shape[3])
    share = 0.0
    is_shown = False
    if is_there:
        share = ti.static(float(sign)) * shares[view, axis, pair[0], pair[1]]
        is_shown = share > 0.0
        if ti.static(sign > 0):
            is_shown |= share == 0.0  # one of both, also in the middle
    return ti.Struct(
        share=ti.select(is_shown, share, 0.0),
        row=ti.select(is_shown, row + ti.static(sign * down), row),
        column=ti.select(is_shown, column + ti.static(sign * right), column),
        pair=pair,
        sign=ti.select(is_shown, ti.static(float(sign)), 0.0),
    )


@ti.func
def total_share(shares: ti.template(), view: int, row: int, column: int) -> float:
    """How much a pixel would show of its neighbours."""
    total = 0.0
    for side in ti.static(range(NUM_SIDES)):
        total += look_at_side(shares, view, row, column, side).share
    return total


@kernel
def blend(
    shares: array(float, 4),  # see `Crossings`
    plain: array(float, 4),  # (B, C, H, W)
    most: float,  # above 0
    image: array(float, 4),  # (B, C, H, W), written
):
    """A thread owns a pixel."""
    for view, row, column in ti.ndrange(shares.shape[0], shares.shape[2], shares.shape[3]):
        scale = most / ti.max(total_share(shares, view, row, column), most)
        for channel in range(plain.shape[1]):
            own = plain[view, channel, row, column]
            result, low, high = own, own, own
            for side in ti.static(range(NUM_SIDES)):
                other = look_at_side(shares, view, row, column, side)
                if other.share > 0.0:
                    shown = plain[view, channel, other.row, other.column]
                    result += scale * other.share * (shown - own)
                    low, high = ti.min(low, shown), ti.max(high, shown)
            if most <= 1.0:  # it is a mean; rounding must not make it leave what is shown
                result = ti.min(ti.max(result, low), high)
            image[view, channel, row, column] = result


@kernel
def blend_backward(
    edges: array(int, 4),  # see `Crossings`
    shares: array(float, 4),
    plain: array(float, 4),  # (B, C, H, W)
    most: float,
    image: array(float, 4),  # (B, C, H, W)
    grad_image: array(float, 4),  # (B, C, H, W)
    grad_plain: array(float, 4),  # (B, C, H, W), written
    grad_shares: array(float, 4),  # (B, 2, H, W), written where there is an edge
):
    """A thread owns a pixel, and its pairs with those to the right and below."""
    for view, row, column in ti.ndrange(shares.shape[0], shares.shape[2], shares.shape[3]):
        total = total_share(shares, view, row, column)
        kept = 1.0 - ti.min(total, most)
        for channel in range(plain.shape[1]):
            grad = kept * grad_image[view, channel, row, column]
            grad_plain[view, channel, row, column] = grad
        for side in ti.static(range(NUM_SIDES)):
            # the neighbour that shows a share of this pixel has it at its opposite side
            down, right = ti.static(((0, 1), (1, 0), (0, -1), (-1, 0))[side])
            is_there = (row + down >= 0) & (row + down < shares.shape[2])
            is_there &= (column + right >= 0) & (column + right < shares.shape[3])
            if is_there:
                shown = look_at_side(
                    shares, view, row + down, column + right, ti.static((side + 2) % NUM_SIDES)
                ).share
                if shown > 0.0:
                    of_other = total_share(shares, view, row + down, column + right)
                    shown *= most / ti.max(of_other, most)
                    for channel in range(plain.shape[1]):
                        grad = shown * grad_image[view, channel, row + down, column + right]
                        grad_plain[view, channel, row, column] += grad
        for axis in ti.static(range(2)):
            if edges[view, axis, row, column] != NO_EDGE:
                here = ti.Vector([row, column])
                there = here + ti.Vector([ti.static(axis), ti.static(1 - axis)])
                if shares[view, axis, row, column] < 0.0:
                    here, there = there, here
                of_share = pull_share(shares, plain, most, image, grad_image, view, here, there)
                sign = ti.select(shares[view, axis, row, column] < 0.0, -1.0, 1.0)
                grad_shares[view, axis, row, column] = sign * of_share


@ti.func
def pull_share(
    shares: ti.template(),
    plain: ti.template(),
    most: float,
    image: ti.template(),
    grad_image: ti.template(),
    view: int,
    here: ti.math.ivec2,  # row and column of the pixel that shows the share
    there: ti.math.ivec2,  # of the one that it shows
) -> float:
    """The gradient at a pixel's share of a neighbour."""
    total = total_share(shares, view, here[0], here[1])
    scale = most / ti.max(total, most)
    result = 0.0
    for channel in range(plain.shape[1]):
        own = plain[view, channel, here[0], here[1]]
        change = scale * (plain[view, channel, there[0], there[1]] - own)
        if total > most:
            change -= (image[view, channel, here[0], here[1]] - own) / total
        result += change * grad_image[view, channel, here[0], here[1]]
    return result


@kernel
def push_blend(
    shares: array(float, 4),  # see `Crossings`
    plain: array(float, 4),  # (B, C, H, W)
    most: float,
    image: array(float, 4),  # (B, C, H, W)
    tangent_shares: array(float, 5),  # (P, B, 2, H, W), 0 where there is no edge
    tangent_plain: array(float, 5),  # (P, B, C, H, W)
    tangent_image: array(float, 5),  # (P, B, C, H, W), written
):
    """The transpose of `blend_backward`: a thread owns a pixel."""
    for view, row, column in ti.ndrange(shares.shape[0], shares.shape[2], shares.shape[3]):
        total = total_share(shares, view, row, column)
        scale = most / ti.max(total, most)
        for parameter, channel in ti.ndrange(tangent_image.shape[0], plain.shape[1]):
            own = plain[view, channel, row, column]
            of_own = tangent_plain[parameter, view, channel, row, column]
            change, of_total = of_own, 0.0
            for side in ti.static(range(NUM_SIDES)):
                other = look_at_side(shares, view, row, column, side)
                if other.sign != 0.0:
                    of_share = (
                        other.sign
                        * tangent_shares[
                            parameter, view, ti.static(side % 2), other.pair[0], other.pair[1]
                        ]
                    )
                    jump = plain[view, channel, other.row, other.column] - own
                    of_jump = tangent_plain[parameter, view, channel, other.row, other.column]
                    change += scale * (of_share * jump + other.share * (of_jump - of_own))
                    of_total += of_share
            if total > most:
                change -= of_total * (image[view, channel, row, column] - own) / total
            tangent_image[parameter, view, channel, row, column] = change
