"""Estimate the poses of the persons in a video, frame by frame, and draw them.

A bottom-up model finds the persons itself. For a top-down one, as the default
is, they are found by a detector (--det-config, --det-checkpoint); without one,
each frame is taken as one person. Persons are not tracked.

The left upper corner of each frame shows the instantaneous frames per second
(FPS), as the videos of LOGO-CAP do (supplementary material, section 4): 1 /
the time of this frame's inference, which is pre-processing, network and
decoding, those of the detector too, until the GPU is done. Reading, drawing
and writing do not count.
"""

import argparse
import statistics
from itertools import islice
from pathlib import Path
from typing import Union

import mmpose_ext  # noqa: F401  # isort: skip  first: it repairs the others
import numpy as np
from mmengine.structures import InstanceData
from mmpose.structures import split_instances
from rich.console import Console
from rich.progress import Progress

from mmpose_ext.checks import check_output_file
from mmpose_ext.demos import (
    PoseEstimation,
    add_model_arguments,
    describe_keypoints,
    load_models,
)
from mmpose_ext.engine.arguments import positive_int, positive_number
from mmpose_ext.errors import InputError, run_tool
from mmpose_ext.files import write_json
from mmpose_ext.inference.drawing import PoseDrawer, draw_label
from mmpose_ext.inference.image_run import blamed_on
from mmpose_ext.inference.outputs import check_inputs_stay
from mmpose_ext.inference.video import (
    FrameFiles,
    VideoFile,
    VideoWriter,
    device_time,
    open_frames,
    open_output,
    written_files,
)


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        'input', help='video, folder of frames (2.jpg before 10.jpg), or glob'
    )
    add_model_arguments(parser)
    parser.add_argument(
        '--out',
        default='poses.mp4',
        help='video (.mp4 or .avi), or without a suffix a folder of frames '
        '(default: poses.mp4)',
    )
    parser.add_argument(
        '--predictions', help='JSON file for the poses of all frames'
    )
    parser.add_argument(
        '--fps',
        type=positive_number,
        help='of the output video (default: that of the input, 25 for images)',
    )
    parser.add_argument(
        '--max-frames', type=positive_int, help='stop after so many frames'
    )
    parser.add_argument(
        '--overwrite', action='store_true', help='replace existing outputs'
    )
    parser.add_argument(
        '--resume',
        action='store_true',
        help='skip frames that the output folder has; a video cannot be '
        'resumed',
    )
    # The checkpoint may come after options.
    return parser.parse_intermixed_args(argv)


def check_outputs(args, frames: Union[VideoFile, FrameFiles]) -> None:
    written = written_files(args.out, frames)
    check_inputs_stay(frames.paths, written)
    if not args.predictions:
        return
    check_inputs_stay(frames.paths, [args.predictions])
    if Path(args.predictions).resolve() in {
        path.resolve() for path in (Path(args.out), *written)
    }:
        raise InputError(
            f"--predictions '{args.predictions}' would replace what --out "
            f"'{args.out}' writes"
        )
    if args.resume:
        raise InputError(
            '--predictions needs the poses of all frames, which --resume does '
            'not estimate again: leave out one of them'
        )
    check_output_file(args.predictions, args.overwrite)


def describe_frame(name: str, image: np.ndarray, poses: InstanceData) -> dict:
    height, width = image.shape[:2]
    return {
        'image': name,
        'width': width,
        'height': height,
        'instances': split_instances(poses),
    }


def main(argv=None) -> None:
    args = parse_args(argv)
    frames = open_frames(args.input)
    check_outputs(args, frames)
    output = open_output(
        args.out, args.fps or frames.fps, args.overwrite, args.resume
    )
    if isinstance(frames, FrameFiles) and isinstance(output, VideoWriter):
        frames.check_one_size(args.max_frames)
    model, detector = load_models(args)
    estimate = PoseEstimation(model, args.score_thr)
    draw = PoseDrawer(model.dataset_meta, args.kpt_thr)

    total = min(frames.number, args.max_frames or frames.number) or None
    rates, predictions = [], []
    with output, Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task('Estimating poses', total=total)
        steps = enumerate(islice(frames, args.max_frames), start=1)
        for i, (name, decode) in steps:
            if name not in output:
                image = decode()
                with blamed_on(name):
                    start = device_time(args.device)
                    boxes = None if detector is None else detector([image])[0]
                    poses = estimate(image, boxes)
                    rates.append(1 / (device_time(args.device) - start))
                    picture = draw(image, poses)
                output.write(name, draw_label(picture, f'{rates[-1]:.1f} FPS'))
                if args.predictions:
                    entry = describe_frame(name, image, poses)
                    entry.update(frame_id=i, fps=rates[-1])
                    predictions.append(entry)
            progress.advance(bar)

    if args.predictions:
        write_json(
            args.predictions,
            {
                'meta_info': {
                    **describe_keypoints(model.dataset_meta),
                    'video': args.input,
                },
                'instance_info': predictions,
            },
        )
    speed = f', median {statistics.median(rates):.1f} FPS' if rates else ''
    estimate.report_nobody()
    print(f'{len(rates)} frames{speed}: {args.out}')


if __name__ == '__main__':
    run_tool(main)
