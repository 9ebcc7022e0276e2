"""A classifier slid over a picture against the same classifier made fully convolutional.

    python benchmarks/dense_prediction.py [--size 128] [--json FILE]

LeNet-5 with its shipped weights, on a picture of drawn digits. Both give the scores of every window, 4 pixels apart;
the largest difference between them is printed, and the ratio of their times (medians, in turn).
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from _common import machine_line, parser, positive, time_in_turn, write_json


def digits_picture(size: int) -> np.ndarray:
    """(size, size, 1) float32, 0..1: digits side by side."""
    from edgecv.data.digits import draw_digits

    side = size // 32
    images, _ = draw_digits(side * side, seed=1)
    tiles = [np.pad(image, [(0, 32 - image.shape[0]), (0, 32 - image.shape[1])]) for image in images]
    rows = [np.concatenate(tiles[row * side : (row + 1) * side], axis=1) for row in range(side)]
    return np.concatenate(rows)[..., None].astype(np.float32) / 255


def main() -> int:
    made = parser(__doc__ or "")
    made.add_argument("--size", type=positive, default=128, help="side of the picture, a multiple of 32 (default: 128)")
    made.add_argument("--rounds", type=positive, default=5, help="timed rounds (default: 5)")
    options = made.parse_args()
    import keras

    import edgecv
    from edgecv.complexity import complexity
    from edgecv.fully_convolutional import fully_convolutional, slide

    lenet = edgecv.create_model("lenet5", weights="digits")
    size = max(64, options.size // 32 * 32)
    picture = digits_picture(size)
    model, windows = fully_convolutional(lenet, picture.shape)
    once = keras.ops.convert_to_tensor(picture[None])

    def convolutional() -> Any:
        return np.asarray(model(once, training=False))[0]

    def slid() -> Any:
        return slide(lenet, picture, windows.stride)

    difference = float(np.abs(convolutional() - slid()).max())
    count = int(np.prod(model.output_shape[1:3]))
    work = count * complexity(lenet).macs, complexity(model).macs
    seconds = {name: float(np.median(values)) for name, values in time_in_turn(
        {"slid": slid, "fully convolutional": convolutional}, options.rounds
    ).items()}  # fmt: skip
    ratio = seconds["slid"] / seconds["fully convolutional"]
    print(machine_line())
    print(f"LeNet-5 on {size}×{size}: {count} windows, {windows.stride[0]} pixels apart\n")
    print(f"{'':<22}{'MACs':>14}{'ms':>10}")
    for (name, value), macs in zip(seconds.items(), work, strict=True):
        print(f"{name:<22}{macs:>14,}{1e3 * value:>10.2f}")
    print(f"\nspeed-up {ratio:.1f} times (of {work[0] / work[1]:.1f} by the work); largest difference {difference:.1e}")
    facts = {"windows": count, "seconds": seconds, "macs": list(work), "speed_up": ratio, "difference": difference}
    write_json(options.json, {"benchmark": "dense_prediction", **facts})
    return 0 if difference < 1e-5 else 1


if __name__ == "__main__":
    sys.exit(main())
