"""Where the demos write."""

import os
from itertools import chain
from pathlib import Path
from typing import Dict, Iterable, NamedTuple, Sequence, Union

from ..errors import InputError


class Outputs(NamedTuple):
    """The files of one image."""

    picture: Path
    prediction: Path


def plan_outputs(
    paths: Sequence[Path],
    out_dir: Union[str, Path],
    overwrite: bool = False,
    resume: bool = False,
) -> Dict[Path, Outputs]:
    """Plan the picture and the JSON of each image that is to be done.

    Images of several folders keep their place below the common one.

    Args:
        paths (Sequence[Path]): The images.
        out_dir (str | Path): Pictures go to its folder ``visualizations``,
            JSON to ``predictions``.
        overwrite (bool): Whether existing outputs are replaced. Defaults to
            ``False``.
        resume (bool): Whether images with both outputs are left out, and
            outputs of the others replaced. Defaults to ``False``.

    Returns:
        Dict[Path, Outputs]: The outputs by image.

    Raises:
        InputError: If an output exists, two images have the same outputs, or
            an output would replace an image.
    """
    root = Path(os.path.commonpath([path.parent for path in paths]))
    outputs: Dict[Path, Outputs] = {}
    taken: Dict[Path, Path] = {}
    for path in paths:
        place = path.relative_to(root).with_suffix('')
        if place in taken:
            raise InputError(
                f"'{taken[place]}' and '{path}' would have the same outputs; "
                'rename one of them'
            )
        taken[place] = path
        files = Outputs(
            picture=Path(out_dir, 'visualizations', f'{place}.jpg'),
            prediction=Path(out_dir, 'predictions', f'{place}.json'),
        )
        found = [file for file in files if file.exists()]
        if found and not (overwrite or resume):
            raise InputError(
                f"'{found[0]}' exists; give another --out-dir, --overwrite "
                'it, or --resume after it'
            )
        if len(found) < len(files) or not resume:
            outputs[path] = files
    check_inputs_stay(paths, chain(*outputs.values()))
    return outputs


def check_inputs_stay(
    inputs: Iterable[Union[str, Path]], outputs: Iterable[Union[str, Path]]
) -> None:
    """Raise an error if an output replaces an input, also through links."""
    read = {Path(path).resolve() for path in inputs}
    for path in outputs:
        if Path(path).resolve() in read:
            raise InputError(
                f"output '{path}' would replace its own input: choose another "
                'name or folder'
            )
