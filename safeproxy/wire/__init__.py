"""Bytes to frames, frames to what stands in them, and back: framings and one file for each dialect. Pure."""
