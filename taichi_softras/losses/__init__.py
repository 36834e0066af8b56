"""What is minimised: each loss adds to a 0-D field inside a tape, weighted."""

from taichi_softras.losses.image import mean_absolute_error as mean_absolute_error
from taichi_softras.losses.image import mean_squared_error as mean_squared_error
from taichi_softras.losses.image import silhouette_iou as silhouette_iou
from taichi_softras.losses.image import silhouette_ious as silhouette_ious
from taichi_softras.losses.mesh import edge_length as edge_length
from taichi_softras.losses.mesh import flatten as flatten
from taichi_softras.losses.mesh import laplacian as laplacian
from taichi_softras.losses.mesh import laplacian_length as laplacian_length
from taichi_softras.losses.mesh import normal_consistency as normal_consistency
