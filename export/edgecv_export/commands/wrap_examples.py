"""The commands that make bundles of well-known models: shown by ``edgecv wrap --help``, and run by the tests."""

from __future__ import annotations

EXAMPLES = {
    "YOLOX-nano, COCO's 80 classes": (
        "edgecv wrap yolox_nano.onnx --decoder yolox --labels coco80.names -o yolox_nano.edgecv"
    ),
    "the same with suppression in the graph": (
        "edgecv wrap yolox_nano.onnx --decoder yolox --nms-in-graph --labels coco80.names -o yolox_nano_nms.edgecv"
    ),
    "SSD MobileNet, whose labels begin with a background": (
        "edgecv wrap ssd_mobilenet_v1_coco_quant.tflite --decoder ssd-postprocessed --set class_offset=1 "
        "--labels ssd_labelmap.txt -o ssd_mobilenet.edgecv"
    ),
    "UltraFace, slim": "edgecv wrap ultraface_slim_320.onnx --decoder ultraface -o ultraface_slim.edgecv",
    "UltraFace, slim, with suppression in the graph": (
        "edgecv wrap ultraface_slim_320.onnx --decoder ultraface --nms-in-graph -o ultraface_slim_nms.edgecv"
    ),
    "UltraFace, RFB": "edgecv wrap ultraface_rfb_320.onnx --decoder ultraface -o ultraface_rfb.edgecv",
    "BlazeFace for portraits": (
        "edgecv wrap blazeface_short_range.tflite --decoder blazeface -o blazeface_short.edgecv"
    ),
    "BlazeFace for groups": "edgecv wrap blazeface_back.tflite --decoder blazeface -o blazeface_back.edgecv",
    "DeepLab v3, float": (
        "edgecv wrap deeplabv3_257_float.tflite --task segmentation --mean 127.5 --std 127.5 -o deeplab.edgecv"
    ),
    "DeepLab v3, int8": (
        "edgecv wrap deeplabv3_mnv2_dm05_pascal_quant.tflite --task segmentation -o deeplab_int8.edgecv"
    ),
}
"""What it is -> the command; files are called as their makers call them."""


def epilog() -> str:
    """The end of the command's help: each command below what it makes, in lines that can be copied."""
    lines = ["well-known models:"]
    for title, command in EXAMPLES.items():
        lines += [f"  # {title}", f"  {command}"]
    return "\n".join(lines)
