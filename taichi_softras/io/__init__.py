"""Files: meshes and images in and out, as NumPy arrays."""
