"""Export a model, and compare the file with the original."""

import shutil
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from mmengine.structures import InstanceData
from mmpose.codecs import SimCCLabel
from mmpose.models.pose_estimators.base import BasePoseEstimator
from torch import Tensor

from ..errors import InputError
from ..inference.poses import estimate_poses
from .declaration import check_declaration
from .formats import export_network, part_path, quantize
from .metadata import describe, pack, unpack
from .network import (
    SIZE_FACTOR,
    PoseNetwork,
    flatten,
    kind_of,
    record_inputs,
    structure_of,
)
from .pose_model import PoseModel
from .runtimes import open_network
from .samples import Sample

# Largest difference of a map, for maps of up to 1, and of a keypoint in px.
TOLERANCE = 1e-4
KEYPOINT_TOLERANCE = 0.1


@dataclass
class Recording:
    """Inputs and outputs of a PyTorch model where a runtime replaces it.

    Attributes:
        images (list[Tensor]): Inputs of its network.
        parts (dict[str, list[Tensor]]): Inputs of the parts that its head
            calls later, by name.
        poses (list[InstanceData]): Its poses, of each image.
    """

    images: List[Tensor]
    parts: Dict[str, List[Tensor]]
    poses: List[InstanceData]


def record(
    model: BasePoseEstimator,
    samples: Iterable[Sample],
    max_inputs: Optional[int] = None,
) -> Recording:
    """Run a model on images, and record its inputs and poses.

    Args:
        model (BasePoseEstimator): As of
            :func:`~mmpose_ext.inference.poses.load_pose_model`.
        samples (Iterable[Sample]): The images.
        max_inputs (int, optional): Stop once the network has had this many
            inputs. Defaults to ``None``, all images.

    Raises:
        InputError: The model is of a kind that cannot be exported, or its
            images are of such a size.
    """
    poses: List[InstanceData] = []
    with record_inputs(model) as (images, parts):
        for image, boxes in samples:
            poses.append(estimate_poses(model, image, boxes))
            if max_inputs and sum(map(len, images)) >= max_inputs:
                break
    if not images:
        raise InputError('expected images to run the model on, got none')
    return Recording(images, parts, poses)


def export_model(
    model: BasePoseEstimator, path: Union[str, Path], recording: Recording
) -> None:
    """Write the network of a model, and its parts, as files.

    Args:
        model (BasePoseEstimator): As of
            :func:`~mmpose_ext.inference.poses.load_pose_model`.
        path (str | Path): The file, see
            :func:`~mmpose_ext.deploy.formats.export_network`; parts go beside
            it.
        recording (Recording): What :func:`record` has returned.

    Raises:
        InputError: The model cannot be exported.
    """
    network = PoseNetwork(model)
    parts = network.parts()
    metadata = _metadata(model, network, recording)
    # The main file comes last: with it, all is there.
    for name, part in parts.items():
        (inputs, *_) = recording.parts[name]
        example = torch.cat([inputs, inputs])[:2]
        export_network(part, example, part_path(path, name), metadata)
    images = recording.images[0]
    _, channels, height, width = images.shape
    multiples = {0: 1}
    if kind_of(model) == 'bottomup':
        # Any size: traced with one that is no square.
        height, width = 4 * SIZE_FACTOR, 6 * SIZE_FACTOR
        multiples.update({2: SIZE_FACTOR, 3: SIZE_FACTOR})
    example = torch.rand(2, channels, height, width)
    export_network(network, example, path, metadata, multiples)


def quantize_model(
    model: BasePoseEstimator,
    path: Union[str, Path],
    out: Union[str, Path],
    recording: Recording,
    max_samples: int = 300,
) -> None:
    """Write the 8-bit form of an exported OpenVINO model.

    Its parts are copied as they are: by ``tools/test.py``, the refinement of
    a toy LOGO-CAP in 8 bits cost 1.7 points of AP, its network 0.3.

    Args:
        model (BasePoseEstimator): The model in PyTorch.
        path (str | Path): The ``.xml`` file of the exported model.
        out (str | Path): The ``.xml`` file to write.
        recording (Recording): What :func:`record` has returned for the
            calibration images.
        max_samples (int): How many inputs are used at most. Defaults to 300.
    """
    network = PoseNetwork(model)
    metadata = _metadata(model, network, recording)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    for name in network.parts():
        for suffix in ('.xml', '.bin'):
            shutil.copyfile(
                part_path(path, name).with_suffix(suffix),
                part_path(out, name).with_suffix(suffix),
            )
    quantize(path, out, _singles(recording.images, max_samples), metadata)


def compare(
    model: BasePoseEstimator,
    path: Union[str, Path],
    samples: Sequence[Sample],
    recording: Recording,
) -> Tuple[float, float]:
    """Compare an exported model with the one in PyTorch.

    Args:
        model (BasePoseEstimator): The model in PyTorch.
        path (str | Path): The exported model.
        samples (Sequence[Sample]): The images.
        recording (Recording): What :func:`record` has returned for them.

    Returns:
        tuple[float, float]: The largest difference of a keypoint's score, or
        of a value of a map, where there are some above 1 as a part of the
        highest; and the largest distance of a keypoint in px, infinite where
        there are other persons. The keypoints of SimCC, each the place of a
        maximum, count where their scores differ.

    Raises:
        InputError: The head needs more than what its ``forward`` returns.
    """
    modules = {'': PoseNetwork(model), **PoseNetwork(model).parts()}
    inputs = {'': recording.images, **recording.parts}
    difference = 0.0
    for name, module in modules.items():
        network = open_network(part_path(path, name) if name else path)
        for batch in inputs[name]:
            with torch.inference_mode():
                expected = flatten(module(batch))
            for a, b in zip(expected, network(batch.numpy())):
                scale = max(float(a.abs().max()), 1.0)
                error = float((a - torch.from_numpy(b)).abs().max())
                # A NaN is a difference, too.
                error = error / scale if error == error else np.inf
                difference = max(difference, error)

    exported = PoseModel(path)
    distance = 0.0
    for (image, boxes), pose in zip(samples, recording.poses):
        try:
            found = exported(image, boxes)
        except Exception as e:
            raise InputError(
                f'{type(model.head).__name__} cannot be exported: its predict '
                f'needs more than what its forward returns ({e})'
            ) from e
        if found.keypoints.shape != pose.keypoints.shape:
            return difference, np.inf
        if len(found):
            scores = found.keypoint_scores - pose.keypoint_scores
            scores = np.abs(scores) / max(pose.keypoint_scores.max(), 1.0)
            steps = found.keypoints - pose.keypoints
            steps = np.linalg.norm(steps, axis=-1)
            if isinstance(model.head.decoder, SimCCLabel):
                # Of two equal highest values the runtime may take the other.
                steps = np.where(scores > TOLERANCE, steps, 0)
            difference = max(difference, float(scores.max()))
            distance = max(distance, float(steps.max()))
    return difference, distance


def check_agreement(difference: float, distance: float) -> None:
    """Check that an exported model agrees with the one in PyTorch.

    Args:
        difference (float): Of :func:`compare`.
        distance (float): Of :func:`compare`.

    Raises:
        InputError: It differs.
    """
    if difference > TOLERANCE:
        raise InputError(
            f'the exported network differs from PyTorch by {difference:.2g}, '
            f'expected at most {TOLERANCE:g}: nothing is written'
        )
    if distance > KEYPOINT_TOLERANCE:
        raise InputError(
            f'keypoints of the exported network are up to {distance:.2g} px '
            f'from those of PyTorch, expected at most {KEYPOINT_TOLERANCE:g}: '
            "nothing is written; does the head's predict use more than its "
            'forward?'
        )


def _metadata(
    model: BasePoseEstimator, network: PoseNetwork, recording: Recording
) -> str:
    with torch.inference_mode():
        outputs = network.outputs(recording.images[0][:1])
    flatten(outputs)
    text = pack(
        describe(
            model,
            structure_of(outputs),
            _checksum(model),
            tuple(network.parts()),
        )
    )
    try:
        # Nothing is written that could not be loaded.
        check_declaration(unpack(text, 'to be written'))
    except ValueError as e:
        raise InputError(f'the model cannot be exported: {e}') from e
    return text


def _checksum(model: BasePoseEstimator) -> int:
    checksum = 0
    for tensor in model.state_dict().values():
        checksum = zlib.crc32(tensor.contiguous().numpy().tobytes(), checksum)
    return checksum


def _singles(batches: Sequence[Tensor], number: int) -> List[np.ndarray]:
    """Inputs one by one, evenly spread where there are more than needed."""
    rows = [row for batch in batches for row in batch.split(1)]
    chosen = np.linspace(0, len(rows) - 1, min(number, len(rows)))
    return [rows[int(i)].numpy() for i in chosen]
