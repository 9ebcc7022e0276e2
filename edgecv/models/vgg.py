"""VGG-16 and VGG-19: 3x3 convolutions all the way (Simonyan & Zisserman 2015, arXiv:1409.1556)."""

from __future__ import annotations

from functools import partial
from typing import Any

from edgecv.layers.heads import dense_classifier
from edgecv.models.alexnet import DENSE_WIDTH
from edgecv.models.imagenet import MEAN_SUBTRACTED, builder_of, swap_first_channels
from edgecv.models.registry import Builder, ModelRecord, OfficialWeights, Paper, register

PAPER = Paper(
    "Simonyan, Zisserman", 2015, "Very Deep Convolutional Networks for Large-Scale Image Recognition", "1409.1556"
)
FILTERS = (64, 128, 256, 512, 512)

# Table 1, columns D and E: convolutions of each block.
BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

_COSTS = {16: (138_357_544, 15_470_264_320), 19: (143_667_240, 19_632_062_464)}
_ADDRESS = "https://storage.googleapis.com/tensorflow/keras-applications/"
_MD5 = {
    16: ("64373286793e3c8b2b4e3219cbf3544b", "6d6bbae143d832006294945121d1f1fc"),
    19: ("cbe5617147190e668d6c5d5026f83318", "253f8cb515780f3b799900260a226db6"),
}


def body(image: Any, repeats: tuple[int, ...]) -> Any:
    """The five blocks, each ended by a pooling that halves the map: (N, H/32, W/32, 512).

    Layer names and order are those of ``keras.applications``: its files load.
    """
    import keras

    from edgecv.layers.convolution import max_pool

    x = image
    for block, (filters, count) in enumerate(zip(FILTERS, repeats, strict=True), start=1):
        for number in range(1, count + 1):
            name = f"block{block}_conv{number}"
            x = keras.layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)
        x = max_pool(x, 2, 2, "valid", f"block{block}_pool")
    return x


def _named(depth: int) -> Builder:
    name = f"vgg{depth}"
    parameters, macs = _COSTS[depth]
    files = (f"{name}_weights_tf_dim_ordering_tf_kernels.h5", f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5")
    record = ModelRecord(
        name=name,
        task="classification",
        summary=f"{depth - 3} convolutions 3x3 and three dense layers",
        paper=PAPER,
        input_shape=(224, 224, 3),
        classes=1000,
        parameters=parameters,
        macs=macs,
        preprocessing=MEAN_SUBTRACTED,
        licence="CC-BY-4.0",
        options=(DENSE_WIDTH,),
        weights=tuple(
            OfficialWeights(
                address=f"{_ADDRESS}{name}/{file}",
                file=file,
                licence="CC-BY-4.0",
                input_size=224,
                options={"dense_width": 4096},
                include_top=top,
                md5=md5,
            )
            for file, top, md5 in zip(files, (True, False), _MD5[depth], strict=True)
        ),
        after_official=swap_first_channels,
    )
    return register(record)(
        builder_of(record, partial(body, repeats=BLOCKS[depth]), dense_classifier, ("dense_width",))
    )


vgg16 = _named(16)
vgg19 = _named(19)
