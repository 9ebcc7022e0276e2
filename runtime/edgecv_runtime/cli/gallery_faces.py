"""The actions of ``edgecv gallery`` that look at pictures: enroll, enroll-folder, identify, verify and calibrate."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecv_runtime.cli.command import add_accelerator_options, add_backend_options, backend_options
from edgecv_runtime.cli.gallery_options import Action, opened
from edgecv_runtime.cli.output import remark, say, say_json
from edgecv_runtime.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from edgecv_runtime.faces.pipeline import Face, FacePipeline
    from edgecv_runtime.gallery.answers import Identification


def _add_pipeline_options(parser: argparse.ArgumentParser, *, required: bool = True) -> None:
    parser.add_argument(
        "--embedder", required=required, metavar="E", help="bundle that turns an aligned face into a vector"
    )
    where = parser.add_mutually_exclusive_group(required=required)
    where.add_argument("--detector", metavar="D", help="bundle that finds faces")
    where.add_argument("--aligned", action="store_true", help="the pictures are aligned faces already")
    parser.add_argument(
        "--alignment",
        default="auto",
        metavar="HOW",
        help="auto: by the detector's landmarks; box: by the box alone, for a detector without any (default: auto)",
    )
    parser.add_argument(
        "--quality", default="standard", metavar="GATE", help="what a face must be: off, standard or strict"
    )
    add_backend_options(parser)
    add_accelerator_options(parser)


def _pipeline(options: argparse.Namespace) -> FacePipeline:
    from edgecv_runtime.faces.pipeline import FacePipeline

    return FacePipeline(
        options.detector, options.embedder, options.quality, options.alignment, **backend_options(options)
    )


# -- enrolling -----------------------------------------------------------------------------------------


def _add_enrolment_options(parser: argparse.ArgumentParser) -> None:
    _add_pipeline_options(parser)
    parser.add_argument(
        "--poisoning",
        default="refuse",
        metavar="P",
        help="a sample that is nearer to another person than to its own: refuse, flag or off (default: refuse)",
    )
    parser.add_argument("--distance", metavar="NAME", help="of a new gallery (default: cosine)")
    parser.add_argument("--template", metavar="NAME", help="of a new gallery: all, mean or robust-mean (default: all)")


def _configure_enroll(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="pictures that show this person and nobody else")
    _add_enrolment_options(parser)


def _enroll(options: argparse.Namespace) -> int:
    from edgecv_runtime.gallery.names import check_name

    check_name(options.name)  # before a model is loaded
    with _pipeline(options) as pipeline, _for_enrolment(options, pipeline) as gallery:
        faces = [pipeline.only_face(image) for image in options.images]
        ids = _store(gallery, [options.name] * len(faces), faces, options.poisoning)
        people = len(gallery)
    if options.json:
        samples = [_enrolled(*one) for one in zip(ids, options.images, faces, strict=True)]
        say_json({"name": options.name, "samples": samples, "people": people})
    else:
        say(f"enrolled {options.name} with {len(ids)} pictures; {people} people are in {options.gallery}")
    return 0


def _configure_enroll_folder(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="pictures as DIR/<name>/*.jpg")
    _add_enrolment_options(parser)


def _enroll_folder(options: argparse.Namespace) -> int:
    from edgecv_runtime.gallery.names import check_name

    for folder, _ in labelled_pictures(options.folder):  # before a model is loaded
        check_name(folder.name)
    with _pipeline(options) as pipeline, _for_enrolment(options, pipeline) as gallery:
        names, images, faces, skipped = _faces_of(pipeline, options.folder)
        ids = _store(gallery, names, faces, options.poisoning)
        people = len(gallery)
    if options.json:
        samples = [
            {"name": name, **_enrolled(number, image, face)}
            for name, number, image, face in zip(names, ids, images, faces, strict=True)
        ]
        say_json({"samples": samples, "skipped": skipped, "people": people})
        return 0
    for reason in skipped.values():
        remark(f"skipped: {reason}")
    say(f"enrolled {len(set(names))} people with {len(ids)} pictures, skipped {len(skipped)}; {people} people in all")
    return 0


def _faces_of(pipeline: FacePipeline, folder: str) -> tuple[list[str], list[str], list[Face], dict[str, str]]:
    """Names, pictures and faces of a labelled folder, and why the other pictures were left out.

    Raises
    ------
    InputError
        Not one picture will do.
    """
    names, images, faces = [], [], []
    skipped: dict[str, str] = {}
    for person, image in labelled_pictures(folder):
        try:
            faces.append(pipeline.only_face(image))
        except InputError as error:
            skipped[str(image)] = str(error)
            continue
        names.append(person.name)
        images.append(str(image))
    if not faces:
        raise InputError(f"no picture in {folder} will do; the first: {next(iter(skipped.values()))}")
    return names, images, faces, skipped


def labelled_pictures(folder: str) -> list[tuple[Path, Path]]:
    """(folder of a person, picture), in order of their names.

    Raises
    ------
    MissingFileError
        There is no such folder, or no picture in it.
    """
    from edgecv_runtime.errors import MissingFileError
    from edgecv_runtime.images import IMAGE_SUFFIXES

    root = Path(folder)
    if not root.is_dir():
        raise MissingFileError(f"no folder {root}")
    people = sorted(path for path in root.iterdir() if path.is_dir())
    found = [
        (person, picture)
        for person in people
        for picture in sorted(person.iterdir())
        if picture.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not found:
        raise MissingFileError(f"pictures are expected as {root}/<name>/*.jpg; none is there")
    return found


def _for_enrolment(options: argparse.Namespace, pipeline: FacePipeline) -> Any:
    return opened(
        options,
        create=True,
        fingerprint=pipeline.fingerprint,
        dimension=pipeline.dimension,
        distance=options.distance,
        template=options.template,
    )


def _store(gallery: Any, names: list[str], faces: list[Face], poisoning: str) -> list[int]:
    ids: list[int] = gallery.enroll_many(
        names,
        [_vector(face) for face in faces],
        qualities=[face.quality.value for face in faces],
        poisoning=poisoning,
    )
    return ids


def _vector(face: Face) -> npt.NDArray[np.float32]:
    """Of a face that the quality gate let through, which every face of `only_face` is."""
    if face.vector is None:
        raise InputError("a face without a vector was let through; is the pipeline's gate its own?")
    return face.vector


def _enrolled(number: int, image: str, face: Face) -> dict[str, Any]:
    return {"id": number, "image": image, "quality": face.quality.to_dict()}


# -- asking --------------------------------------------------------------------------------------------


def _configure_identify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("images", nargs="+", metavar="IMAGE")
    parser.add_argument("-k", type=int, default=1, metavar="K", help="people to show for each face (default: 1)")
    parser.add_argument("--threshold", type=float, metavar="S", help="least score (default: the calibrated one)")
    _add_pipeline_options(parser)


def _identify(options: argparse.Namespace) -> int:
    answers = []
    with (
        _pipeline(options) as pipeline,
        opened(options, read_only=True, fingerprint=pipeline.fingerprint) as gallery,
    ):
        for image in options.images:
            found = [
                (face, None if face.vector is None else gallery.identify(face.vector, options.k, options.threshold))
                for face in pipeline.faces(image)
            ]
            answers.append({"image": image, "faces": [_identified(*one) for one in found]})
            if not options.json:
                _say_faces(image, found)
    if options.json:
        say_json(answers)
    return 0


def _identified(face: Face, answer: Identification | None) -> dict[str, Any]:
    return {**face.to_dict(), "identification": None if answer is None else answer.to_dict()}


def _say_faces(image: str, found: list[tuple[Face, Identification | None]]) -> None:
    if not found:
        say(f"{image}: no face")
    for face, answer in found:
        if answer is None:
            say(f"{image}: refused, {'; '.join(map(str, face.quality.rejections))}")
            continue
        say(f"{image}: {answer.summary}")
        for match in answer.matches[1:]:
            say(f"    {match.name} ({match.score:.3f})")


def _configure_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="whom the picture is said to show")
    parser.add_argument("image", metavar="IMAGE")
    parser.add_argument("--threshold", type=float, metavar="S", help="least score (default: the calibrated one)")
    _add_pipeline_options(parser)


def _verify(options: argparse.Namespace) -> int:
    with (
        _pipeline(options) as pipeline,
        opened(options, read_only=True, fingerprint=pipeline.fingerprint) as gallery,
    ):
        face = pipeline.only_face(options.image)
        answer = gallery.verify(options.name, _vector(face), options.threshold)
    if options.json:
        say_json({**answer.to_dict(), **face.to_dict()})
    else:
        say(answer.summary)
    return 0 if answer.accepted else 1


# -- calibrating ---------------------------------------------------------------------------------------


def _configure_calibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--far", type=float, default=1e-3, metavar="F", help="wished false-accept rate (default: 0.001)"
    )
    parser.add_argument(
        "--data",
        metavar="DIR",
        help="pictures as DIR/<name>/*.jpg of people to measure with (default: the gallery's own samples)",
    )
    parser.add_argument("--picture", metavar="OUT.svg", help="draw the curve")
    parser.add_argument("--curve", default="det", metavar="C", help="det or roc (default: det)")
    _add_pipeline_options(parser, required=False)


def _calibrate(options: argparse.Namespace) -> int:
    if (options.data is None) != (options.embedder is None):
        raise InputError("--data needs --embedder with --detector or --aligned, and they need --data")
    if options.data is None:
        with opened(options) as gallery:
            found = gallery.calibrate(far=options.far)
    else:
        if not options.aligned and options.detector is None:
            raise InputError("--data needs --detector D, or --aligned for pictures that are aligned faces already")
        with _pipeline(options) as pipeline, opened(options, fingerprint=pipeline.fingerprint) as gallery:
            names, _, faces, skipped = _faces_of(pipeline, options.data)
            for reason in skipped.values():
                remark(f"skipped: {reason}")
            found = gallery.calibrate([_vector(face) for face in faces], names, far=options.far)
    if options.picture is not None:
        from edgecv_runtime.bundle import write_atomically
        from edgecv_runtime.gallery.curves import draw_curve

        write_atomically(Path(options.picture), draw_curve(found, options.curve).encode())
    if options.json:
        say_json({**found.to_dict(), "picture": options.picture})
        return 0
    say(
        f"threshold  {found.threshold:.4f} ({found.threshold_low:.4f} to {found.threshold_high:.4f}), now the gallery's"
    )
    say(f"FAR        {found.far.summary}, wished {found.wished_far:g}")
    say(f"TAR        {found.tar.summary}")
    say(f"FPIR       {found.fpir.summary}: strangers that are named")
    say(f"FNIR       {found.fnir.summary}: people of the gallery that are not")
    say(f"rank 1     {found.rank1:.4f}, among {found.people} people with {found.samples} samples")
    if options.picture is not None:
        say(f"curve      {options.picture}")
    return 0


FACE_ACTIONS = (
    Action("enroll", "add samples of a person from pictures", _configure_enroll, _enroll),
    Action("enroll-folder", "add everybody of DIR/<name>/*.jpg", _configure_enroll_folder, _enroll_folder),
    Action("identify", "name every face of a picture, or say that it is nobody's", _configure_identify, _identify),
    Action("calibrate", "measure the threshold for a wished false-accept rate", _configure_calibrate, _calibrate),
    Action("verify", "is this the person they claim to be? (exit status 1: no)", _configure_verify, _verify),
)
