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

# 50 optimizer steps in f32 or f64, on values around 1: one or two roundings a step.
OPTIMIZER_SINGLE = 1e-5
OPTIMIZER_DOUBLE = 1e-13

# How near an optimizer comes to a minimum in 200 steps.
OPTIMIZER_CONVERGED = 1e-2

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
