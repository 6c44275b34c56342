"""Encode a panorama as an image file, with its parameters inside."""

from __future__ import annotations

import io
import json
from typing import Any, Final

from PIL import Image
from PIL.ExifTags import IFD, Base
from PIL.PngImagePlugin import PngInfo

from panoweave.core.diffusion.panorama import Panorama
from panoweave.core.params import ResolvedParams

_MAKER: Final = "panoweave"
_PREVIEW_WIDTH_PX: Final = 1_024
_PREVIEW_QUALITY: Final = 80
_ASCII: Final = b"ASCII\0\0\0"  # the encoding, in front of EXIF's UserComment
_MAX_JPEG_EXIF_BYTES: Final = 65_000  # a JPEG segment has 16 bits for its length

# What is not a photograph says so, as https://cv.iptc.org/newscodes/digitalsourcetype/ has it.
DIGITAL_SOURCE_TYPE: Final = (
    "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
)
_XMP: Final = """\
<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about=""
   xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
   Iptc4xmpExt:DigitalSourceType="{source_type}"{sphere}/>
 </rdf:RDF>
</x:xmpmeta>
"""
# Photo Sphere XMP, which viewers need to show an image as a sphere, or as a part of one.
_SPHERE: Final = """
   xmlns:GPano="http://ns.google.com/photos/1.0/panorama/"
   GPano:ProjectionType="equirectangular" GPano:UsePanoramaViewer="True"
   GPano:FullPanoWidthPixels="{width}" GPano:FullPanoHeightPixels="{full_height}"
   GPano:CroppedAreaImageWidthPixels="{width}" GPano:CroppedAreaImageHeightPixels="{height}"
   GPano:CroppedAreaTopPixels="{top}" GPano:CroppedAreaLeftPixels="0" """


def encode(panorama: Panorama) -> bytes:
    """Encode in the requested format, with the parameters as JSON if the format has room for them.

    In PNG they are the text chunk `panoweave`, elsewhere EXIF's UserComment. XMP says that an
    algorithm made the picture.
    """
    output = panorama.params.output
    if output.format == "png":
        options: dict[str, Any] = {"pnginfo": _text_chunks(panorama)}
    else:
        options = {"quality": output.quality, "xmp": _xmp(panorama).encode()}
        if holds_parameters(panorama.params):
            options["exif"] = _exif(panorama.params)
        if output.format == "jpeg":
            options["subsampling"] = "4:4:4"  # full resolution for colours: it shows in skies
    buffer = io.BytesIO()
    panorama.image.save(buffer, output.format, **options)
    return buffer.getvalue()


def holds_parameters(params: ResolvedParams) -> bool:
    """Whether the parameters fit. A JPEG has no room for many regions with very long prompts."""
    return params.output.format != "jpeg" or len(_exif(params)) <= _MAX_JPEG_EXIF_BYTES


def encode_preview(image: Image.Image) -> bytes:
    """A small JPEG."""
    small = image.copy()
    small.thumbnail((_PREVIEW_WIDTH_PX, _PREVIEW_WIDTH_PX))
    buffer = io.BytesIO()
    xmp = _XMP.format(source_type=DIGITAL_SOURCE_TYPE, sphere="").encode()
    small.save(buffer, "JPEG", quality=_PREVIEW_QUALITY, xmp=xmp)
    return buffer.getvalue()


def _text_chunks(panorama: Panorama) -> PngInfo:
    text = PngInfo()
    text.add_itxt("Software", _MAKER)
    text.add_itxt(_MAKER, panorama.params.model_dump_json())
    text.add_itxt("XML:com.adobe.xmp", _xmp(panorama))
    return text


def _exif(params: ResolvedParams) -> bytes:
    exif = Image.Exif()
    exif[Base.Software] = _MAKER
    comment = json.dumps(params.model_dump(mode="json"), ensure_ascii=True).encode()
    exif.get_ifd(IFD.Exif)[Base.UserComment] = _ASCII + comment
    return exif.tobytes()


def _xmp(panorama: Panorama) -> str:
    return _XMP.format(source_type=DIGITAL_SOURCE_TYPE, sphere=_sphere(panorama))


def _sphere(panorama: Panorama) -> str:
    """Which part of a sphere the picture shows; empty if it shows none.

    A loop that is half as high as it is wide has been called a sphere since before there was
    `projection`.
    """
    params, (width, height) = panorama.params, panorama.image.size
    if params.projection == "equirectangular":
        full_height = width // 2
    elif params.loop and width == 2 * height:
        full_height = height
    else:
        return ""
    top = (full_height - height) // 2
    return _SPHERE.format(width=width, height=height, full_height=full_height, top=top)
