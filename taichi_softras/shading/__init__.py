"""Colours from light: the mesh's colours in, those of the rasterizer out."""
