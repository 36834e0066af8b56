"""Vertices from world space to NDC, and normals."""
