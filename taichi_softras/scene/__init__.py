"""What is rendered: meshes, cameras and lights, as Taichi fields."""
