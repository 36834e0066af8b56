"""Rasterizers: projected corners and their colours in, an image and its gradient out."""
