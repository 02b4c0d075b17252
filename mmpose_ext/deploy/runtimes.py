"""Exported files, run by ONNX Runtime or OpenVINO."""

import zlib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy as np

from ..arguments import positive_int
from ..checks import check_file
from ..errors import InputError
from . import onnx_file, openvino_file
from .declaration import check_declaration
from .metadata import KEY, unpack

SUFFIXES = ('.onnx', '.xml')
# The entry of an ``.onnx`` file with a checksum of all else in it, and what
# it is until then.
SEAL, UNSEALED = f'{KEY}_crc', '0' * 10
# A key's end, and the kind and length of the value behind it.
_SEAL_START = SEAL.encode() + b'\x12\x0a'


def is_exported(path: Union[str, Path]) -> bool:
    """Whether a file's name is that of an exported network.

    Args:
        path (str | Path): The file.
    """
    return Path(path).suffix.lower() in SUFFIXES


def require(module: str) -> Any:
    """Import an optional package.

    Args:
        module (str): Its name.

    Raises:
        InputError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as e:
        raise InputError(
            f"'{module}' cannot be imported ({e}); to install what exported "
            'files need: pip install "mmpose-ext[deploy]"'
        ) from e


def openvino_core() -> Any:
    """The only ``openvino.Core`` of this process.

    A core's part for the CPU gives the thread a stack for its signal
    handlers, and frees it when the core goes, even if another core has noted
    it as the stack to return to. If two cores end in the order in which they
    began, a freed stack remains, and the next signal, such as that of a data
    loader's worker which ends, kills the process (OpenVINO 2026.4).

    Raises:
        InputError: OpenVINO is not installed.
    """
    return _core(require('openvino'))


@cache
def _core(openvino: Any) -> Any:
    core = openvino.Core()
    # Loads the CPU's part now, ahead of that of NNCF's cores.
    core.get_property('CPU', 'FULL_DEVICE_NAME')
    return core


def open_network(
    path: Union[str, Path],
    device: str = 'cpu',
    num_threads: Optional[int] = None,
) -> 'Network':
    """Open an exported network.

    Args:
        path (str | Path): A ``.onnx`` file, for ONNX Runtime, or the ``.xml``
            file of OpenVINO, whose ``.bin`` lies beside it.
        device (str): Where it runs: ``'cpu'``; ``'cuda'`` with ONNX Runtime's
            GPU package; ``'gpu'``, of Intel, with OpenVINO. Defaults to
            ``'cpu'``.
        num_threads (int, optional): CPU threads. Defaults to ``None``, as
            the runtime chooses.

    Raises:
        InputError: There is no such file, it is broken, refers to files
            outside its folder, or is no network from one tensor of floats to
            others; or the runtime is missing or cannot use the device.
        ValueError: ``num_threads`` is not a positive integer.
    """
    if num_threads is not None:
        positive_int('num_threads', num_threads)
    path = str(path)
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"'{path}' is no exported network: expected a name that ends in "
            f'{" or ".join(SUFFIXES)}'
        )
    check_file(path, 'exported network')
    kind = OnnxNetwork if suffix == '.onnx' else OpenVinoNetwork
    return kind(path, device, num_threads)


class Network:
    """A network from an array to arrays, for any number of threads.

    Attributes:
        path (str): Its file.
        shape (list[int | None]): Lengths of the input's axes, None where
            they are free.
        output_shapes (list[list[int | None]]): Those of the outputs.
    """

    path: str
    shape: List[Optional[int]]
    output_shapes: List[List[Optional[int]]]
    _texts: Dict[str, str]

    def __deepcopy__(self, memo: dict) -> 'Network':
        # There are no weights that a copy could average.
        return self

    def __call__(self, inputs: np.ndarray) -> List[np.ndarray]:
        """Run the network.

        Args:
            inputs (np.ndarray): float32, of the exported rank.

        Returns:
            list[np.ndarray]: Its outputs, float32.

        Raises:
            InputError: It was exported for inputs of another size, or fails.
        """
        if len(inputs.shape) != len(self.shape) or any(
            n not in (None, m) for n, m in zip(self.shape, inputs.shape)
        ):
            shape = ['any' if n is None else n for n in self.shape]
            raise InputError(
                f"'{self.path}' was exported for inputs of shape {shape}, got "
                f'{list(inputs.shape)}'
            )
        try:
            return self._run(inputs)
        except Exception as e:
            raise InputError(
                f"exported network '{self.path}' fails on inputs of shape "
                f'{list(inputs.shape)}: {first_line(e)}'
            ) from e

    def _run(self, inputs: np.ndarray) -> List[np.ndarray]:
        raise NotImplementedError

    def _set_ports(
        self, inputs: Sequence, outputs: Sequence, float32: str
    ) -> None:
        """Check shapes and types of inputs and outputs; keep the shapes."""
        (shape, kind), *others = inputs or [(None, 'none')]
        kinds = {kind, *(kind for _, kind in outputs)}
        if others or not shape or not outputs or kinds != {float32}:
            raise InputError(
                f"'{self.path}' is a network from {[k for _, k in inputs]} to "
                f'{[k for _, k in outputs]}, expected one from a tensor of '
                'floats to others'
            )
        self.shape = shape
        self.output_shapes = [shape for shape, _ in outputs]

    @property
    def metadata(self) -> dict:
        """What :func:`~mmpose_ext.deploy.metadata.describe` has written.

        Raises:
            InputError: The file was exported by something else, or declares
                anything else than a pose model.
        """
        text = self._texts.get(KEY)
        if not text:
            raise InputError(
                f"'{self.path}' was not exported by this package: it has no "
                'description of its pre- and post-processing; make it with '
                'tools/deploy/export.py'
            )
        metadata = unpack(text, self.path)
        try:
            check_declaration(metadata)
        except ValueError as e:
            raise InputError(
                f"exported file '{self.path}' is refused, and nothing of it "
                f'was run: {e}'
            ) from e
        return metadata


class OnnxNetwork(Network):
    """A ``.onnx`` file in ONNX Runtime; see :func:`open_network`."""

    def __init__(self, path: str, device: str, num_threads: Optional[int]):
        runtime = require('onnxruntime')
        self.path = path
        wanted = {
            'cpu': 'CPUExecutionProvider',
            'cuda': 'CUDAExecutionProvider',
        }
        provider = wanted.get(device.partition(':')[0])
        available = runtime.get_available_providers()
        if provider not in available:
            raise InputError(
                f"ONNX Runtime cannot use device '{device}': expected one of "
                f'{[k for k, v in wanted.items() if v in available]}'
            )
        index = device.partition(':')[2]
        number = dict(device_id=index) if index else {}
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        # Bytes could be taken for ONNX Runtime's format, too.
        options.add_session_config_entry('session.load_model_format', 'ONNX')
        if num_threads:
            options.intra_op_num_threads = num_threads
        content = _read_bytes(path, onnx_file.MAX_BYTES)
        self._texts = onnx_file.read_texts(content, path)
        if _SEAL_START in content and seal(content) != content:
            raise InputError(f"exported network '{path}' is broken")
        try:
            # What was checked, not what the file may have become.
            self._session = runtime.InferenceSession(
                content, options, providers=[(provider, number)]
            )
        except Exception as e:
            raise _broken(path, 'ONNX Runtime', e) from e
        inputs = self._session.get_inputs()
        self._set_ports(
            *(
                [(_lengths(port.shape), port.type) for port in x]
                for x in (inputs, self._session.get_outputs())
            ),
            'tensor(float)',
        )
        self._input = inputs[0].name

    def _run(self, inputs: np.ndarray) -> List[np.ndarray]:
        return self._session.run(None, {self._input: inputs})


class OpenVinoNetwork(Network):
    """An ``.xml`` and ``.bin`` in OpenVINO; see :func:`open_network`."""

    def __init__(self, path: str, device: str, num_threads: Optional[int]):
        core = openvino_core()
        self.path = path
        wanted = device.partition(':')[0].upper()
        if wanted not in core.available_devices:
            raise InputError(
                f"OpenVINO cannot use device '{device}': expected one of "
                f'{[name.lower() for name in core.available_devices]}'
            )
        file = Path(path).with_suffix('.bin')
        check_no_link(file, path)
        check_file(str(file), 'weights of the exported network')
        content = _read_bytes(path, openvino_file.MAX_XML_BYTES)
        weights = _read_bytes(file, openvino_file.MAX_BIN_BYTES)
        self._texts = openvino_file.read_texts(content, path, len(weights))
        expected = self._texts.get(f'{KEY}_bin')
        if expected and expected != str(zlib.crc32(weights)):
            raise InputError(
                f"'{file}' is broken, or belongs to another file than '{path}'"
            )
        try:
            # What was checked, not what the files may have become.
            model = core.read_model(content, weights)
        except Exception as e:
            raise _broken(path, 'OpenVINO', e) from e
        # Without the second, a CPU with bfloat16 would compute in it.
        options = dict(
            PERFORMANCE_HINT='LATENCY', INFERENCE_PRECISION_HINT='f32'
        )
        if num_threads:
            options['INFERENCE_NUM_THREADS'] = num_threads
        try:
            self._compiled = core.compile_model(model, wanted, options)
        except Exception as e:
            raise _broken(path, 'OpenVINO', e) from e
        self._set_ports(
            *(
                [
                    (_dimensions(port), port.element_type.get_type_name())
                    for port in ports
                ]
                for ports in (model.inputs, model.outputs)
            ),
            'f32',
        )
        # A request serves one call at a time. As many are kept as there were
        # calls at once: a list's pop and append are safe in threads.
        self._idle: List[Any] = []

    def _run(self, inputs: np.ndarray) -> List[np.ndarray]:
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        # The request keeps its memory for the next call.
        outputs = [array.copy() for array in request.infer([inputs]).values()]
        self._idle.append(request)
        return outputs


def check_no_link(file: Path, path: str) -> None:
    """Check that a file which another one refers to lies in its folder.

    Args:
        file (Path): The file.
        path (str): The one that refers to it.

    Raises:
        InputError: It is a link, which could lead out of the folder.
    """
    if file.is_symlink():
        raise InputError(
            f"'{file}', to which '{path}' refers, is a link: expected a file "
            'in its folder'
        )


def _read_bytes(path: Union[str, Path], limit: int) -> bytes:
    size = Path(path).stat().st_size
    if size > limit:
        raise InputError(
            f"exported network '{path}' has {size} bytes, expected at most "
            f'{limit}'
        )
    return Path(path).read_bytes()


def seal(content: bytes) -> bytes:
    """Put the checksum of an ``.onnx`` file into its entry for it.

    Args:
        content (bytes): The file, with the entry :data:`SEAL` of ten digits.
    """
    start = content.index(_SEAL_START) + len(_SEAL_START)
    blank = content[:start] + UNSEALED.encode() + content[start + 10 :]
    checksum = f'{zlib.crc32(blank):010}'.encode()
    return content[:start] + checksum + content[start + 10 :]


def _lengths(shape: Optional[Sequence]) -> List[Optional[int]]:
    return [n if isinstance(n, int) else None for n in shape or ()]


def _dimensions(port: Any) -> List[Optional[int]]:
    shape = port.partial_shape
    if shape.rank.is_dynamic:
        return []
    return [n.get_length() if n.is_static else None for n in shape]


def _broken(path: str, runtime: str, error: Exception) -> InputError:
    return InputError(
        f"exported network '{path}' cannot be read by {runtime}; it is broken "
        f'or of another kind: {first_line(error)}'
    )


def first_line(error: Exception) -> str:
    """The first informative line of an error's message.

    Args:
        error (Exception): As native code raises it, with its stack below.
    """
    # OpenVINO begins with the place in its source.
    lines = [
        line
        for line in str(error).splitlines()
        if line.strip() and not line.startswith('Exception from')
    ]
    return lines[0] if lines else type(error).__name__
