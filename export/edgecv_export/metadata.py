"""Write the manifest into the artefact itself, so that a bare model file still knows how it wants to be fed."""

from __future__ import annotations

import json
import re
from html import escape

from edgecv_export.formats.compact import serialize_tflite
from edgecv_runtime.artefact import METADATA_KEY, Artefact
from edgecv_runtime.manifest import Manifest


def embed(artefact: Artefact, manifest: Manifest) -> Artefact:
    """The artefact with the manifest inside, in place of any it carried before."""
    text = json.dumps(manifest.embedded().to_dict(), separators=(",", ":"), ensure_ascii=False)
    writer = {"tflite": _into_tflite, "onnx": _into_onnx, "openvino": _into_openvino}[artefact.format]
    return Artefact(artefact.format, writer(artefact.model, text), artefact.weights)


def _into_tflite(content: bytes, text: str) -> bytes:
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.convert_bytearray_to_object(bytearray(content))
    entries = list(model.metadata or [])
    entry = next((entry for entry in entries if entry.name == METADATA_KEY.encode()), None)
    if entry is None:
        entry = schema.MetadataT()
        entry.name, entry.buffer = METADATA_KEY.encode(), len(model.buffers)
        model.buffers.append(schema.BufferT())
        model.metadata = [*entries, entry]
    model.buffers[entry.buffer].data = np.frombuffer(text.encode(), np.uint8)
    return serialize_tflite(model)


def _into_onnx(content: bytes, text: str) -> bytes:
    import onnx

    model = onnx.load_from_string(content)
    others = [entry for entry in model.metadata_props if entry.key != METADATA_KEY]
    del model.metadata_props[:]
    model.metadata_props.extend([*others, onnx.StringStringEntryProto(key=METADATA_KEY, value=text)])
    return bytes(model.SerializeToString())


def _into_openvino(content: bytes, text: str) -> bytes:
    """Into ``<rt_info>``, as ``openvino.Model.set_rt_info`` writes it: line breaks would not survive an attribute."""
    xml = content.decode()
    value = escape(text).replace("\r", "&#13;").replace("\n", "&#10;").replace("\t", "&#9;")
    xml = re.sub(rf'\s*<{METADATA_KEY} value="[^"]*"\s*/>', "", xml)
    entry = f'<{METADATA_KEY} value="{value}"/>'
    xml = re.sub(r"<rt_info\s*/>", "<rt_info></rt_info>", xml)
    if "</rt_info>" in xml:
        end = xml.rindex("</rt_info>")
        return (xml[:end] + entry + xml[end:]).encode()
    end = xml.rindex("</net>")
    return (xml[:end] + f"<rt_info>{entry}</rt_info>" + xml[end:]).encode()
