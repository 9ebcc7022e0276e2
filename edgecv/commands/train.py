"""``edgecv train MODEL --data DIR -o OUT.weights.h5``: train on a folder, from scratch or from trained weights."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv.commands.options import add_model_options, collect_model_options
from edgecv_runtime.cli.command import Command, add_json_option
from edgecv_runtime.cli.output import remark, say, say_json
from edgecv_runtime.errors import InputError, MissingFileError, OutputError, UnsupportedError

if TYPE_CHECKING:
    from edgecv.models.registry import ModelRecord
    from edgecv.training.loop import Trained
    from edgecv.training.pictures import Pictures
    from edgecv.training.settings import Settings

_WEIGHTS, _WHOLE = ".weights.h5", ".keras"
_HELD_OUT = 0.1
# What each task's examples are called.
_TASKS = {
    "classification": "pictures",
    "segmentation": "pictures",
    "signal-classification": "signals",
    "volume-classification": "volumes",
}
_DATASET = "keras:"


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="a classifier (of pictures, signals or volumes) or segmenter of `edgecv models`"
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="DIR",
        help="DIR/<class>/*.jpg, or DIR/labels.csv (file,class_index) beside DIR/images; of a segmenter DIR/images "
        "with DIR/masks; of signals and volumes DIR/<class>/*.npy or *.npz, each one or a stack of them; or "
        f"{_DATASET}mnist, fashion_mnist, cifar10 or cifar100, judged by its own test pictures",
    )
    held_out = parser.add_mutually_exclusive_group()
    held_out.add_argument("--eval", metavar="DIR", help="labelled pictures to judge by, laid out as --data")
    held_out.add_argument(
        "--holdout", type=float, metavar="F", help=f"share of each class of --data to judge by (default: {_HELD_OUT})"
    )
    parser.add_argument(
        "--weights",
        metavar="FILE|NAME",
        help="trained weights of the same network, for any number of classes: its head is replaced",
    )
    parser.add_argument("--freeze-to", metavar="LAYER", help="keep everything up to this layer as it is in --weights")
    parser.add_argument("--epochs", type=int, default=20, metavar="N", help="(default: 20)")
    parser.add_argument("--batch", type=int, default=32, metavar="N", help="pictures a step (default: 32)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="X", help="of Adam (default: 0.001)")
    parser.add_argument(
        "--fine-tune-rate",
        type=float,
        metavar="X",
        help="with --weights: of all but the new head (default: a tenth of --learning-rate)",
    )
    parser.add_argument("--augment", default="none", metavar="NAME", help=f"{_recipes()} (default: none)")
    parser.add_argument("--class-weights", metavar="balanced", help="rare classes count as much as common ones")
    parser.add_argument("--patience", type=int, metavar="N", help="stop after N epochs that bring no better one")
    parser.add_argument(
        "--patches", type=int, metavar="N", help="of a segmenter: learn N class-balanced patches an epoch"
    )
    parser.add_argument("--tensorboard", metavar="DIR", help="write TensorBoard's event files there")
    parser.add_argument(
        "--checkpoint",
        metavar="DIR",
        help="where every epoch is kept: the same command goes on from there (default: beside OUT, removed at the end)",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="(default: 0)")
    parser.add_argument("-o", "--output", required=True, metavar="OUT.weights.h5", help="or OUT.keras: a whole model")
    add_model_options(parser)
    add_json_option(parser)


def _recipes() -> str:
    # Written out: the recipes import numpy, which `edgecv --help` does without. A test keeps them alike.
    return "none, light, cifar, digits, photos, strong, microscopy, mixup or cutmix"


def _run(options: argparse.Namespace) -> int:
    from edgecv.models.registry import get_record
    from edgecv.training.settings import Settings

    record = get_record(options.model)
    if record.task not in _TASKS:
        raise UnsupportedError(
            f"edgecv train is for {', '.join(_TASKS)}; {record.name} is for {record.task}, which is trained from Python"
        )
    output = _check_output(options.output, record.task)
    if options.weights is None and (options.freeze_to is not None or options.fine_tune_rate is not None):
        given = "--freeze-to" if options.freeze_to is not None else "--fine-tune-rate"
        raise InputError(f"{given} is for a network that is trained already: it needs --weights")
    settings = Settings(
        epochs=options.epochs,
        batch=options.batch,
        learning_rate=options.learning_rate,
        fine_tune_rate=options.fine_tune_rate,
        augment=options.augment,
        class_weights=options.class_weights,
        patience=options.patience,
        patches=options.patches,
        seed=options.seed,
    )
    if len(record.input_shape) != 3 and settings.augment != "none":
        raise InputError(f"--augment is for pictures; {record.name} takes {_TASKS[record.task]}")
    chosen = collect_model_options(options, record)
    pictures = _pictures(options, record, settings, chosen)
    return _train(options, record, settings, chosen, pictures, output)


def _check_output(given: str, task: str) -> Path:
    path = Path(given)
    if not path.name.endswith((_WEIGHTS, _WHOLE)) or path.name in (_WEIGHTS, _WHOLE):
        raise InputError(f"--output must end in {_WEIGHTS} or {_WHOLE}; received {given}")
    if task == "segmentation" and path.suffix == _WHOLE:
        raise InputError(f"a segmenter is written as {_WEIGHTS}; received {given}")
    if path.is_dir():
        raise OutputError(f"cannot write {path}: a folder of that name is there")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise OutputError(f"cannot write {path}: there is no folder {path.parent} that can be written to")
    return path


def _pictures(options: argparse.Namespace, record: ModelRecord, settings: Settings, chosen: dict[str, Any]) -> Pictures:
    """Everything to learn from, read once."""
    from edgecv.data.labelled import read_labelled
    from edgecv.training.pictures import classified_pictures, dataset_pictures, masked_pictures
    from edgecv_runtime.evaluate_objects import read_mask_pairs

    shape, classes = chosen.get("input_shape", record.input_shape), chosen.get("classes")
    share = _HELD_OUT if options.holdout is None else options.holdout
    if not 0 < share < 1:
        raise InputError(f"--holdout must be a share between 0 and 1; received {share}")
    if options.data.startswith(_DATASET):
        if record.task != "classification" or options.eval is not None:
            raise InputError(f"--data {options.data} is for classifiers of pictures, without --eval")
        name = options.data.removeprefix(_DATASET)
        found = dataset_pictures(name, options.holdout, record.preprocessing, shape, settings.seed)
        _check_count(options.data, found.classes, classes)
        return found
    if record.task == "segmentation":
        return masked_pictures(
            read_mask_pairs(options.data),
            share if options.eval is None else read_mask_pairs(options.eval),
            record.preprocessing,
            shape,
            classes=classes,
            whole=settings.patches is None,
            seed=settings.seed,
        )
    learned = read_labelled(options.data, classes=(classes or 0) if _listed(options.data) else 0, input_shape=shape)
    _check_count(options.data, learned.classes, classes)
    if len(shape) != 3:
        _check_shape(learned.items[0].path, shape)
    return classified_pictures(
        learned,
        share if options.eval is None else read_labelled(options.eval, learned.names, learned.classes, shape),
        record.preprocessing,
        shape,
        seed=settings.seed,
    )


def _check_count(data: str, held: int, given: int | None) -> None:
    if given not in (None, held):
        raise InputError(f"{data} holds {held} classes; received --classes {given}")


def _check_shape(path: Path, shape: tuple[int, ...]) -> None:
    """Say once, and how to mend it, what would else be said of every file."""
    from edgecv.data.labelled import array_spec
    from edgecv_runtime.arrays import examples, read_array_file

    try:
        found = read_array_file(path)
    except (InputError, MissingFileError):
        return  # a damaged file is left out later
    try:
        examples(found, array_spec(shape), str(path))
    except InputError as error:
        raise InputError(f"{error}: give --input-size, --input-channels or --input-depth") from None


def _listed(folder: str) -> bool:
    """Whether a list says the classes by number: it may leave some of them out."""
    return Path(folder).is_file() or (Path(folder) / "labels.csv").is_file()


def _train(
    options: argparse.Namespace,
    record: ModelRecord,
    settings: Settings,
    chosen: dict[str, Any],
    pictures: Pictures,
    output: Path,
) -> int:
    import keras

    from edgecv.training.checkpoint import Checkpoint
    from edgecv.training.loop import train
    from edgecv.transfer import freeze_to

    keras.utils.set_random_seed(settings.seed)
    model, head = _build(options, record, chosen, pictures.classes)
    frozen = () if options.freeze_to is None else freeze_to(model, options.freeze_to)
    folder = _checkpoint_folder(options, output)
    checkpoint = Checkpoint(folder, _facts(options, record, chosen, settings, pictures))
    _announce(record, pictures, head, frozen, checkpoint, settings)
    try:
        trained = train(
            model,
            pictures,
            record.preprocessing,
            settings,
            checkpoint,
            head=head,
            auxiliary=record.auxiliary,
            tensorboard_folder=None if options.tensorboard is None else Path(options.tensorboard),
            notify=lambda figures: remark(_line(figures, settings.epochs)),
        )
    except KeyboardInterrupt:
        if checkpoint.state is not None:
            remark(f"the same command goes on after epoch {checkpoint.state.epoch}")
        raise
    finally:
        checkpoint.discard_if_unused()
    _save(model, output)
    labels = _write_labels(pictures, output)
    if options.checkpoint is None:
        checkpoint.remove()
    _report(options, record, chosen, settings, pictures, trained, model, output, labels)
    return 0


def _build(
    options: argparse.Namespace, record: ModelRecord, chosen: dict[str, Any], classes: int
) -> tuple[Any, tuple[str, ...]]:
    from edgecv.models.factory import create_model
    from edgecv.transfer import replace_head

    kept = {name: value for name, value in chosen.items() if name not in ("classes", "input_shape")}
    shape = chosen.get("input_shape")
    if options.weights is None:
        return create_model(record.name, shape, classes, **kept), ()
    transfer = replace_head(record.name, classes, options.weights, shape, **kept)
    return transfer.model, transfer.head


def _checkpoint_folder(options: argparse.Namespace, output: Path) -> Path:
    if options.checkpoint is not None:
        return Path(options.checkpoint)
    stem = output.name.removesuffix(_WEIGHTS).removesuffix(_WHOLE)
    return output.with_name(f"{stem}.checkpoint")


def _facts(
    options: argparse.Namespace,
    record: ModelRecord,
    chosen: dict[str, Any],
    settings: Settings,
    pictures: Pictures,
) -> dict[str, Any]:
    """What a training depends on, by the names of the command line."""
    import hashlib

    weights = options.weights
    if weights is not None and Path(weights).is_file():
        weights = hashlib.sha256(Path(weights).read_bytes()).hexdigest()[:16]
    return {
        "model": record.name,
        **{name: str(value) for name, value in chosen.items()},
        "weights": weights,
        "freeze_to": options.freeze_to,
        **settings.to_dict(),
        "holdout": options.holdout,
        "pictures": [len(pictures.learned), len(pictures.held_out), pictures.digest],
    }


def _announce(
    record: ModelRecord,
    pictures: Pictures,
    head: tuple[str, ...],
    frozen: tuple[str, ...],
    checkpoint: Any,
    settings: Settings,
) -> None:
    remark(
        f"{record.name}: {len(pictures.learned):,} {_TASKS[record.task]} to learn, "
        f"{len(pictures.held_out):,} held out, {pictures.classes} classes"
        + (f", {pictures.skipped} skipped" if pictures.skipped else "")
    )
    if head:
        remark(
            f"new head: {', '.join(head)}" + (f"; frozen: {len(frozen)} layers up to {frozen[-1]}" if frozen else "")
        )
    if checkpoint.state is not None:
        remark(f"going on after epoch {checkpoint.state.epoch} of {settings.epochs} ({checkpoint.folder})")


def _line(figures: dict[str, float], epochs: int) -> str:
    return (
        f"epoch {figures['epoch']:.0f}/{epochs}  loss {figures['loss']:.4f}  held out: loss {figures['val_loss']:.4f}, "
        f"accuracy {100 * figures['val_accuracy']:.2f} %"
    )


def _save(model: Any, output: Path) -> None:
    """The best network, in place in one step."""
    from edgecv.training.callbacks import save_network

    suffix = _WHOLE if output.suffix == _WHOLE else _WEIGHTS
    temporary = output.with_name(f".{output.name.removesuffix(suffix)}.{os.getpid()}{suffix}")
    try:
        save_network(model, temporary)
        temporary.replace(output)
    except OSError as error:
        raise OutputError(f"cannot write {output}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _write_labels(pictures: Pictures, output: Path) -> Path | None:
    """Class names beside the weights, where the pictures came with them."""
    if pictures.names is None:
        return None
    from edgecv_runtime.bundle import write_atomically

    path = output.with_name(f"{output.name.removesuffix(_WEIGHTS).removesuffix(_WHOLE)}.labels.txt")
    write_atomically(path, ("\n".join(pictures.names) + "\n").encode())
    return path


def _report(
    options: argparse.Namespace,
    record: ModelRecord,
    chosen: dict[str, Any],
    settings: Settings,
    pictures: Pictures,
    trained: Trained,
    model: Any,
    output: Path,
    labels: Path | None,
) -> None:
    from edgecv.training.hint import export_hint

    kept = {name: value for name, value in chosen.items() if name not in ("classes", "input_shape")}
    hint = export_hint(
        record,
        kept,
        model.input_shape[1:],
        pictures.classes,
        output,
        labels,
        None if options.eval is None else Path(options.eval),
    )
    if options.json:
        document = {
            "model": record.name,
            "weights": str(output),
            "labels": None if labels is None else str(labels),
            "classes": pictures.classes,
            "pictures": {
                "learned": len(pictures.learned),
                "held_out": len(pictures.held_out),
                "skipped": pictures.skipped,
            },
            "settings": settings.to_dict(),
            "epochs": trained.epochs,
            "best_epoch": trained.best_epoch,
            "resumed_at": trained.resumed_at,
            "history": trained.history,
            "held_out": trained.figures,
            "export": hint,
        }
        say_json(document)
        return
    for line in _summary(trained, settings):
        say(line)
    say(f"wrote {output}" + (f" and {labels}" if labels is not None else ""))
    say(f"next: {hint}")


def _summary(trained: Trained, settings: Settings) -> list[str]:
    figures = trained.figures
    if "top1" in figures:
        found = f"top-1 {100 * figures['top1']:.2f} %, top-5 {100 * figures['top5']:.2f} %"
    else:
        found = f"mean IoU {100 * figures['miou']:.2f} %, pixels {100 * figures['pixel_accuracy']:.2f} %"
    return [f"held out  {found} (n = {figures['n']:,}), epoch {trained.best_epoch} of {trained.epochs} trained"]


TRAIN = Command("train", "train a classifier or segmenter on a folder of labelled examples", _configure, _run)
