"""Graph models of TensorFlow.js as PoseNet is, and what they compute.

Nothing here uses the converter's code.
"""

import base64
import json
from pathlib import Path

import numpy as np

# Published as ``posenet.json``; not part of the project.
REAL = Path(__file__).parents[2] / 'shared/data/posenet/posenet.json'
# Output channels and strides of PoseNet's separable convolutions.
SEPARABLE = [
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *[(512, 1)] * 7,
]
# The nodes behind which the stages 0 to 3 of MobileNetV1 end.
STAGE_ENDS = ('point1', 'point3', 'point5', 'point11')
PLAIN = ('Conv2D', 'DepthwiseConv2dNative')
FUSED = ('_FusedConv2D', 'FusedDepthwiseConv2dNative')
LEVELS = dict(uint8=255, uint16=65535)


def _coded(*names):
    return [base64.b64encode(name.encode()).decode() for name in names]


def make_graph(
    width=0.25, dtype='float32', behind=('BiasAdd', 'Relu6'), fused=True
):
    """A PoseNet of random weights.

    Args:
        width (float): Factor of its channels.
        dtype (str): As what the kernels are stored.
        behind (tuple): What follows convolutions.
        fused (bool): Whether that is in the same node.

    Returns:
        tuple: The content of its ``.json`` with all weights in 'w.bin', the
        bytes of that file, and the weights by name in double precision.
    """
    rng = np.random.default_rng(0)
    nodes, entries, data, arrays = [], [], [], {}

    def add_array(name, value):
        entry = dict(name=name, shape=list(value.shape), dtype='float32')
        # Biases stay as they are: they lie between bytes then.
        if dtype == 'float32' or value.ndim == 1:
            value = value.astype('<f4')
            stored = value
        elif dtype == 'float16':
            entry['quantization'] = dict(dtype=dtype, original_dtype='float32')
            value = stored = value.astype('<f2')
        else:
            low, scale = value.min(), np.ptp(value) / LEVELS[dtype]
            entry['quantization'] = dict(dtype=dtype, scale=scale, min=low)
            stored = ((value - low) / scale).round()
            stored = stored.astype(np.dtype(dtype).newbyteorder('<'))
            value = stored * scale + low
        entries.append(entry)
        data.append(stored.tobytes())
        arrays[name] = value.astype(float)
        nodes.append(dict(name=name, op='Const'))

    def add_conv(name, source, shape, stride=1, behind=behind):
        fan_in = shape[0] * shape[1]
        is_depthwise = name.startswith('depth')
        fan_in *= 1 if is_depthwise else shape[2]
        outputs = shape[2] if is_depthwise else shape[3]
        weight = rng.normal(0, 1.6 * fan_in**-0.5, shape)
        add_array(f'{name}/kernel', weight)
        add_array(f'{name}/bias', rng.normal(0.3, 0.3, outputs))
        attr = dict(
            strides=dict(list=dict(i=['1', str(stride), str(stride), '1'])),
            dilations=dict(list=dict(i=['1'] * 4)),
            padding=dict(s=_coded('SAME')[0]),
        )
        inputs = [source, f'{name}/kernel']
        if fused:
            op = FUSED[is_depthwise]
            inputs.append(f'{name}/bias')
            attr['fused_ops'] = dict(list=dict(s=_coded(*behind)))
            nodes.append(dict(name=name, op=op, input=inputs, attr=attr))
            return name
        op = PLAIN[is_depthwise]
        source = f'{name}/{op}'
        nodes.append(dict(name=source, op=op, input=inputs, attr=attr))
        for op in behind:
            inputs = [source, f'{name}/bias'][: 1 + (op == 'BiasAdd')]
            source = name if op == behind[-1] else f'{name}/{op}'
            nodes.append(dict(name=source, op=op, input=inputs))
        return name

    channels = round(32 * width)
    name = add_conv('stem', 'image', (3, 3, 3, channels), 2)
    for i, (wide, stride) in enumerate(SEPARABLE, 1):
        wide = round(wide * width)
        name = add_conv(f'depth{i}', name, (3, 3, channels, 1), stride)
        name = add_conv(f'point{i}', name, (1, 1, channels, wide))
        channels = wide
    for head in ('heatmap', 'offset'):
        add_conv(head, name, (1, 1, channels, 5), behind=('BiasAdd',))
    # An order of the nodes tells nothing.
    nodes = [*nodes[::-1], dict(name='image', op='Placeholder')]
    weights = dict(paths=['w.bin'], weights=entries)
    content = dict(
        format='graph-model',
        modelTopology=dict(node=nodes),
        weightsManifest=[weights],
    )
    return content, b''.join(data), arrays


def write_graph(folder, **kwargs):
    """Write a PoseNet of random weights; return its ``.json``."""
    content, data, _ = make_graph(**kwargs)
    path = folder / 'graph.json'
    path.write_text(json.dumps(content))
    (folder / 'w.bin').write_bytes(data)
    return path


def read_real():
    """PoseNet's content and weights, which are in single precision."""
    content = json.loads(REAL.read_text())
    (group,) = content['weightsManifest']
    (name,) = group['paths']
    data = np.fromfile(REAL.with_name(name), '<f4').astype(float)
    arrays = {}
    for entry in group['weights']:
        assert entry['dtype'] == 'float32' and 'quantization' not in entry
        size = np.prod(entry['shape'], dtype=int)
        arrays[entry['name']] = data[:size].reshape(entry['shape'])
        data = data[size:]
    assert len(data) == 0
    return content, arrays


def evaluate(content, arrays, image):
    """All maps of a graph by name, as TensorFlow computes them.

    Args:
        image (np.ndarray): Of shape (H, W, 3).

    Returns:
        dict[str, np.ndarray]: Maps of shape (H, W, C), double precision.
    """
    nodes = {node['name']: node for node in content['modelTopology']['node']}
    maps = {}

    def get(name):
        if name not in maps:
            node = nodes[name]
            maps[name] = image if node['op'] == 'Placeholder' else run(node)
        return maps[name]

    def run(node):
        source, *names = node['input']
        x, op = get(source), node['op']
        if op == 'BiasAdd':
            return x + arrays[names[0]]
        if op == 'Relu6':
            return x.clip(0, 6)
        assert op in PLAIN + FUSED
        attr = node['attr']
        assert attr['padding']['s'] == _coded('SAME')[0]
        (_, stride, _, _), (_, dilation, _, _) = (
            map(int, attr[key]['list']['i'])
            for key in ('strides', 'dilations')
        )
        x = _convolve(x, arrays[names[0]], stride, dilation, 'Depthwise' in op)
        if op in PLAIN:
            return x
        fused = attr['fused_ops']['list']['s']
        assert fused in (_coded('BiasAdd', 'Relu6'), _coded('BiasAdd'))
        x += arrays[names[1]]
        return x.clip(0, 6) if len(fused) == 2 else x

    for name, node in nodes.items():
        if node['op'] != 'Const':
            get(name)
    return maps


def _convolve(x, kernel, stride, dilation, is_depthwise):
    """With TensorFlow's padding SAME: what is odd goes below and right."""
    k = kernel.shape[0]
    sizes, pads = [], []
    for n in x.shape[:2]:
        size = -(-n // stride)
        reach = (size - 1) * stride + (k - 1) * dilation + 1
        pad = max(reach - n, 0)
        sizes.append(size)
        pads.append((pad // 2, pad - pad // 2))
    x = np.pad(x, [*pads, (0, 0)])
    out = 0
    for i in range(k):
        for j in range(k):
            rows, columns = (
                slice(
                    a * dilation, a * dilation + (n - 1) * stride + 1, stride
                )
                for a, n in zip((i, j), sizes)
            )
            part = x[rows, columns]
            weight = kernel[i, j]
            out = out + (
                part * weight[:, 0] if is_depthwise else part @ weight
            )
    return out
