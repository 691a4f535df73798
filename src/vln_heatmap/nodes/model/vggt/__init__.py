"""VGGT under the official state-dict names, at any size."""

from vln_heatmap.nodes.model.vggt.camera import decode_cameras, encode_cameras
from vln_heatmap.nodes.model.vggt.model import VGGT, Head, VGGTOutput, load_official

__all__ = ["VGGT", "Head", "VGGTOutput", "decode_cameras", "encode_cameras", "load_official"]
