"""Geometry models: VGGT under the official state-dict names at any size, and what else speaks its interface."""

from vln_heatmap.nodes.model.vggt.base import GeometryModel, Head, Origin, VGGTOutput
from vln_heatmap.nodes.model.vggt.camera import decode_cameras, encode_cameras
from vln_heatmap.nodes.model.vggt.long_video import Reconstruction, reconstruct, reconstruct_windows
from vln_heatmap.nodes.model.vggt.model import VGGT, load_official
from vln_heatmap.nodes.model.vggt.nothing import NoGeometry
from vln_heatmap.nodes.model.vggt.omega import VGGTOmega, VGGTOmegaMissingError
from vln_heatmap.nodes.model.vggt.points import depth_points, unproject
from vln_heatmap.params import VGGTParams

#: Geometry models by ``VGGTParams.name``.
GEOMETRY: dict[str, type[VGGT] | type[VGGTOmega] | type[NoGeometry]] = {
    "vggt": VGGT,
    "vggt_omega": VGGTOmega,
    "none": NoGeometry,
}


def make_geometry(params: VGGTParams) -> VGGT | VGGTOmega | NoGeometry:
    """The geometry model that ``params.name`` names: with the weights of ``params.source``, else random."""
    model = GEOMETRY[params.name]
    return model(params) if params.source is None else model.from_source(params)


__all__ = [
    "GEOMETRY",
    "VGGT",
    "GeometryModel",
    "Head",
    "NoGeometry",
    "Origin",
    "Reconstruction",
    "VGGTOmega",
    "VGGTOmegaMissingError",
    "VGGTOutput",
    "decode_cameras",
    "depth_points",
    "encode_cameras",
    "load_official",
    "make_geometry",
    "reconstruct",
    "reconstruct_windows",
    "unproject",
]
