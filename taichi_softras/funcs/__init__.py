"""Pure maths inside kernels: no arrays, each adjoint right below its primal."""
