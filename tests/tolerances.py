"""Every tolerance of the test suite, each with its reason. Nowhere else."""

# f64 adjoint against f64 central differences, relative to the largest entry:
# a step of 1e-6 leaves truncation and rounding errors of about 1e-9 to 1e-8.
FINITE_DIFFERENCE_RELATIVE = 1e-6

# NumPy f64 twin against a closed form with values around 1: some tens of roundings of 1e-16.
TWIN_CLOSED_FORM = 1e-13

# NumPy f64 twin against the double build of the original SoftRas: the same real numbers by other
# formulas. Largest difference seen: 2e-12, in the case with gamma = 1e-4, which multiplies the
# rounding of depths by 1 / gamma.
SOFTRAS_IMAGE = 1e-9

# The same where the file stores the image in float32: half a unit in the last place of 1 is 3e-8.
SOFTRAS_IMAGE_STORED_AS_FLOAT32 = 6e-8

# Flatten divides by lengths^2 that are enlarged by 1e-6 of the hinge's size^2.
FLATTEN_GUARD = 1e-4

# Normals are divided by lengths that are enlarged by 1e-12 of a hinge's size^4, whose faces here
# are 1/20 of its size^2 or more.
NORMAL_GUARD = 1e-9

# 50 optimizer steps in f32 or f64, on values around 1: one or two roundings a step.
OPTIMIZER_SINGLE = 1e-5
OPTIMIZER_DOUBLE = 1e-13

# How near an optimizer comes to a minimum in 200 steps.
OPTIMIZER_CONVERGED = 1e-2

# A minimum that Gauss-Newton reaches quadratically: the last step squared.
MINIMUM = 1e-8

# The integral of a cosine's kink over a sphere by 120 x 121 / 2 points: 1 / their number.
SPHERE_RULE = 1e-3

# f32 kernels against f64 twins, values and gradients, relative to the largest entry: some tens of
# roundings of 6e-8, more where a normal or a direction cancels.
SINGLE_PRECISION_RELATIVE = 1e-4

# NumPy f64 against closed forms with values around 1: a few roundings of 1e-16.
DOUBLE_ROUNDING = 1e-14

# Coordinates around 1 through mesh files: f32, or decimals with as many digits.
MESH_FILE = 1e-6

# Colours in [0, 1] through 8 bits: half a step.
EIGHT_BITS = 0.5001 / 255

# A GIF frame is drawn with a palette: one step of 255.
GIF_STEPS = 1

# The volume of a polyhedron inscribed in a sphere or torus against that of the body.
INSCRIBED_VOLUME = 0.02

# Step of central differences in f64 where pixels near an edge make kinks: small enough that no
# pixel of a test's scene is passed; rounding then leaves 1e-9 to 1e-8.
FINITE_DIFFERENCE_STEP = 1e-7

# The same f32 image drawn with faces in another order, or next to other views: a few roundings.
SAME_IMAGE_SINGLE = 1e-5

# Its gradient, relative to the largest entry: sums over pixels in another order.
SAME_GRADIENT_SINGLE = 3e-5

# f64 gradients against the double build of SoftRas, relative to the largest entry: seen 3e-12,
# as for its images.
SOFTRAS_GRADIENT = 1e-9

# The same where the file stores float32: half a unit in the last place, relative.
SOFTRAS_GRADIENT_STORED_AS_FLOAT32 = 6e-8

# f32 images against the double build: depths in f32, 6e-8 * 3, over gamma * (far - near) = 1e-2
# give 2e-5. Two backends that keep it differ by less than 1e-4.
SOFTRAS_IMAGE_SINGLE = 4e-5

# f32 gradients against f64, relative to the largest entry: the same rounding.
SOFTRAS_GRADIENT_SINGLE = 4e-5

# f64 images against the NumPy twin, in scenes with gamma * (far - near) >= 1e-2: some tens of
# roundings of 1e-16, over that.
TWIN_DOUBLE = 1e-12

# The mean of the pixels that a face of 0.2 x 0.3 covers, of 0.05 each, against the face's centre.
CENTRE_OF_A_SMALL_FACE = 0.03

# f32 images 4096 units of NDC long: positions are exact to 2e-4 units, sigma is about 1e-2 or more.
LONG_IMAGE_SINGLE = 2e-3

# The polynomial of exp in f32: 2e-7 by Cephes, and the rounding of its last product.
EXP_SINGLE = 3e-7

# exp in f64 is the C library's; at 700 half a unit in the last place of x is 6e-14.
EXP_DOUBLE = 1e-13

# 1 / (1 + exp(-x)) in f32: exp's error and three roundings of 6e-8.
SIGMOID_SINGLE = 6e-7

# NumPy f64 twin and f64 kernels against the double build of NMR, relative to the largest entry:
# the same real numbers by other formulas. Largest difference seen: 3e-14.
NMR_DOUBLE = 1e-12

# f32 images and colour gradients against the double build of NMR: some roundings of 6e-8.
NMR_IMAGE_SINGLE = 5e-6

# f32 corner gradients against it, relative to the largest entry: a pixel's centre that an edge
# all but touches has a gradient of 1 / distance. The original's own f32 build is 4.1e-4 off.
NMR_GRADIENT_SINGLE = 1.5e-3

# NumPy f64 twin and f64 kernels against OpenDR's f64, relative to the largest entry: sums in
# another order. Largest difference seen: 1e-15.
OPENDR_DOUBLE = 1e-13

# f32 kernels against it: sums over some hundred pixels, roundings of 6e-8.
OPENDR_SINGLE = 5e-6

# <J v, w> against <v, J^T w> in f64, relative to the length of the terms: sums in another order.
TRANSPOSE_DOUBLE = 1e-12

# PyTorch3D's results are f32: depths near 3 to some roundings of 2e-7; where the last of K faces is
# tied with the next one to 2e-5, either may be in the list.
PYTORCH3D_DEPTH = 6e-5

# Its barycentrics of faces that are seen edge-on: area + 1e-8 there, and f32.
PYTORCH3D_FRAGMENTS = 5e-5

# The share of fragments or pixels where equal depths are in the order of rounding there.
PYTORCH3D_TIES = 0.02

# Its f32 images and gradients (relative to the largest entry) by 1 / gamma and 1 / sigma.
PYTORCH3D_IMAGE = 2e-4
PYTORCH3D_GRADIENT = 2e-3

# Texture cubes end 1e-3 of an entry before their last one, in a scene whose light is below 2.
CUBE_MARGIN = 2e-3

# Direction of a silhouette's gradient at 1280 x 1280 pixels, edges soft over half a pixel, against
# that of the area: 1 - cosine. An edge's pixels are a part in some hundred of its length.
SHARP_SILHOUETTE_COSINE = 1e-4

# Gradient along a curve of f32 brightness against its central differences at +-2e-3, relative to
# the largest: rounding leaves 1e-7 / 2e-3 = 5e-5, truncation (2e-3)^2 / sigma / 6 of it 2e-4.
CURVE_SLOPE_SINGLE = 1e-3

# 100 steps of an f64 simulation against its closed form, values around 1: each bounce multiplies
# the rounding of its time by the change of velocity, about 10.
FLIGHT_DOUBLE = 1e-12

# Two Runge-Kutta steps a frame against the exact pendulum, 100 in all: (h w)^5 / 120 = 8e-7 each
# with h w = 0.05 * pi. Seen: 7e-5.
RUNGE_KUTTA = 1e-4

# What a process may grow by in 500 tapes: lavapipe keeps 4 to 5 kB a tape, and the heap breathes.
MEGABYTES_OF_500_TAPES = 10

# The same f64 derivative by hand and by Taichi's reverse mode, relative to the largest entry: some
# tens of roundings of 1e-16. Largest difference seen: 7e-16.
BY_HAND_AND_BY_TAICHI = 1e-13

# f64 gradients of fragments against central differences of step 1e-6, relative to the largest
# entry: errors of the differences themselves. Largest seen: 3e-8.
FRAGMENTS_BY_DIFFERENCES = 1e-7

# The alpha of a soft triangle, added up, and its derivative, against the area in pixels: corners
# are rounded, and stick out. Seen: 8e-4 for a side of 160 pixels and sigma of 1.6 pixels squared.
AREA_OF_SOFT_TRIANGLE = 2e-3

# A point of a ball of 5,120 faces against its interpolated unit normal: faces lie up to 2e-3 below
# the sphere, and normals between vertices are as much too short.
FACETED_SPHERE = 5e-3

# A filtered image against 16 x 16 samples a pixel, averaged: colours are not filtered within faces.
FILTERED_MEAN = 5e-4
FILTERED_LARGEST = 0.05

# The radius of a ball's area on the image, against that of 16 x 16 samples a pixel.
FILTERED_WIDTH_PIXELS = 0.01

# A derivative of the exact filter against a difference over a pixel of the sampled one, relative.
FILTERED_DERIVATIVE = 0.02

# The most that a pixel may change while things move by .005 pixels: pieces of edges keep to a
# straight line of colours, faces turn over.
FILTERED_JUMP = 0.03

# One scene at several sizes in f32: the same numbers but for rounding, which the softmax over depth
# multiplies by depth / (gamma (far - near)), some 1e4, where faces meet.
SAME_IMAGE_OF_ANY_SIZE = 5e-3

# Where the vertices of a mesh lie in an image, in f32, if it stands a few times its size away from
# the origin.
FRAMED = 1e-4

# A loss of a ball's colours, edges soft over a pixel: its gradient against a difference quotient
# over 1.4 pixels, relative. The edge's pixels are few, and no straight line between them: 0.6 %.
RGB_QUOTIENT = 0.03

# Colours and alphas of the random scenes in `hostile`, in units of the last place of the largest
# colour: means and products over up to 100 faces, two roundings each, in either of two orders.
ROUNDINGS_OF_A_SCENE = 400

# The sides of a square that is symmetric to its pixels, by f64 gradients: a corner's pixel is on
# one of two lines of an outline, whose weights differ. Seen: 4e-4 with outlines, 1e-9 without.
SYMMETRIC_SIDES = 1e-3

# f32 images of faces down to 1/100 of a pixel against f64: corners count in half pixels, and there
# they are rounded by 4e-6 at the border of an image of 70, a part of 3e-4 of such a face.
TINY_FACES_SINGLE = 5e-4

# Images of Taichi and of Quadrants: roundings of values around 1, in f64 with `fast_math`, too.
# Without it they are the same bits, and so are the losses of 100 steps; the bars are what a user
# may rely on.
TWO_RUNTIMES_DOUBLE = 1e-12
TWO_RUNTIMES_SINGLE = 1e-6
TWO_RUNTIMES_LOSSES_DOUBLE = 1e-8
TWO_RUNTIMES_LOSSES_SINGLE = 1e-3

# Pixels of known points, and where pictures without distortion come from: pictures are float32,
# half a unit in the last place of 640 is 3e-5.
PIXEL = 1e-4

# A z-buffer in f32 against rays in double precision, images of 48 x 64. Depth relative and colours
# as the requirement has them. A centre is on an edge where they are this many pixels apart: corners
# are rounded by 1e-7 of the image's side, 6e-6 pixels, after a matrix of as many roundings more.
# Of faces that are seen flat, or stand at the eye, the plane is wrong: by 32 roundings of where the
# mesh and the eye are; 4 are seen, and 17 of faces that are cut.
DEPTH_OF_RAYS = 1e-5
PLANE_OF_RAYS = 2e-6
COLOR_OF_RAYS = 0.02
ON_AN_EDGE = 1e-4

# The mean error of antialiased outlines against 16 x 16 samples a pixel, of the z-buffer's: asked
# for is a third; seen are 0.08 to 0.11, more where outlines turn within a pixel.
ANTIALIASED_OF_PLAIN = 0.15
