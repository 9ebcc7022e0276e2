"""From output tensors to a result: one decoder a file, chosen by the manifest's name for it."""

from edgecv_runtime.decoders.base import Decoder, make_decoder

__all__ = ["Decoder", "make_decoder"]
