"""What .onnx files refer to."""

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from mmpose_ext.deploy import onnx_file
from mmpose_ext.deploy.onnx_file import read_texts
from mmpose_ext.deploy.runtimes import open_network
from mmpose_ext.errors import InputError

SHAPE = ['batch', 3, 4, 4]


def outside(location, name='w'):
    """A tensor whose values are in another file."""
    tensor = TensorProto(
        name=name, dims=[1], data_type=TensorProto.FLOAT, data_location=1
    )
    for key, value in (('location', location), ('length', '4')):
        tensor.external_data.add(key=key, value=value)
    return tensor


def inside():
    return helper.make_tensor('w', TensorProto.FLOAT, [1], [2.0])


def make_model(nodes=None, tensors=(), **kwargs):
    """``y = x + w``, or what other nodes make of it."""
    nodes = nodes or [helper.make_node('Add', ['x', 'w'], ['y'])]
    graph = helper.make_graph(
        nodes,
        'graph',
        [helper.make_tensor_value_info('x', TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info('y', TensorProto.FLOAT, SHAPE)],
        list(tensors),
    )
    opset = helper.make_opsetid('', 20)
    return helper.make_model(
        graph, opset_imports=[opset], ir_version=9, **kwargs
    )


def constant(tensor):
    return helper.make_node('Constant', [], ['w'], value=tensor)


ADD = helper.make_node('Add', ['x', 'w'], ['y'])


def in_subgraph(tensor):
    branches = {
        name: helper.make_graph(
            [constant(tensor)],
            name,
            [],
            [helper.make_tensor_value_info('w', TensorProto.FLOAT, [1])],
        )
        for name in ('then_branch', 'else_branch')
    }
    return make_model([helper.make_node('If', ['x'], ['y'], **branches), ADD])


def in_function(tensor):
    function = helper.make_function(
        'own',
        'f',
        [],
        ['w'],
        [constant(tensor)],
        [helper.make_opsetid('', 20)],
    )
    return make_model(
        [helper.make_node('f', [], ['w'], domain='own'), ADD],
        functions=[function],
    )


# All fields that lead to tensors are compared with the format below.
PLACES = {
    'initializer': lambda tensor: make_model(tensors=[tensor]),
    'attribute': lambda tensor: make_model([constant(tensor), ADD]),
    'subgraph': in_subgraph,
    'function': in_function,
}


@pytest.mark.parametrize('place', PLACES)
def test_values_in_other_files(place, tmp_path):
    path = tmp_path / 'a.onnx'
    path.write_bytes(PLACES[place](outside('b.bin')).SerializeToString())
    np.array([2], np.float32).tofile(tmp_path / 'b.bin')
    with pytest.raises(InputError, match=r"of 'w' \('b\.bin'\) in another"):
        open_network(path)
    read_texts(PLACES[place](inside()).SerializeToString(), 'a')


def test_each_sign_of_another_file():
    marked, entry = outside('b.bin'), outside('b.bin')
    marked.ClearField('external_data')
    entry.ClearField('data_location')
    for tensor, location in ((marked, ''), (entry, r'b\.bin')):
        content = make_model(tensors=[tensor]).SerializeToString()
        with pytest.raises(InputError, match=rf"'w' \('{location}'\) in an"):
            read_texts(content, 'a.onnx')
    marked.data_location = TensorProto.DEFAULT
    marked.raw_data = b'1234'
    content = make_model(tensors=[marked]).SerializeToString()
    assert read_texts(content, 'a.onnx') == {}


@pytest.mark.parametrize('where', ['absolute', 'parent', 'link', 'inside'])
def test_no_location_is_opened(where, tmp_path):
    secret = tmp_path / 'secret'
    np.array([7], np.float32).tofile(secret)
    folder = tmp_path / 'files'
    folder.mkdir()
    (folder / 'link').symlink_to(secret)
    np.array([7], np.float32).tofile(folder / 'b.bin')
    location = dict(
        absolute=str(secret), parent='../secret', link='link', inside='b.bin'
    )[where]
    path = folder / 'a.onnx'
    path.write_bytes(
        PLACES['initializer'](outside(location)).SerializeToString()
    )
    with pytest.raises(InputError, match='in another file'):
        open_network(path)
    if where == 'inside':
        assert (run_unchecked(path) == 7).all()


def run_unchecked(path):
    """What ONNX Runtime by itself makes of a file."""
    session = onnxruntime.InferenceSession(str(path))
    return session.run(None, {'x': np.zeros((1, 3, 4, 4), np.float32)})[0]


def encode(number, digits=1):
    """A number in base 128, its lowest digits first."""
    found = []
    while number or len(found) < digits:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found[:-1], found[-1] & 127])


def field(number, content, above=0):
    """A field of bytes, with digits above the 32 bits of its key."""
    key = encode((number << 3 | 2) + (above << 32))
    return key + encode(len(content)) + content


@pytest.mark.parametrize('above', [1, 4, 7])
@pytest.mark.parametrize('where', ['graph', 'tensor', 'external data'])
def test_numbers_of_fields_above_32_bits(where, above, tmp_path):
    """The same to ONNX Runtime as without them."""
    digits = dict.fromkeys(('graph', 'tensor', 'external data'), 0)
    digits[where] = above
    tensor = outside('b.bin')
    entries = [entry.SerializeToString() for entry in tensor.external_data]
    tensor.ClearField('external_data')
    tensor.ClearField('data_location')
    content = tensor.SerializeToString()
    for entry in entries:
        content += field(13, entry, digits['external data'])
    content += encode((14 << 3) + (digits['external data'] << 32)) + b'\1'
    model = make_model()
    graph = model.graph.SerializeToString()
    graph += field(5, content, digits['tensor'])
    model.ClearField('graph')
    content = model.SerializeToString() + field(7, graph, digits['graph'])
    path = tmp_path / 'a.onnx'
    path.write_bytes(content)
    np.array([7], np.float32).tofile(tmp_path / 'b.bin')
    assert (run_unchecked(path) == 7).all()
    number = {'graph': 7, 'tensor': 5, 'external data': 13}[where]
    message = rf'there is no field {(above << 29) + number}$'
    with pytest.raises(InputError, match=message):
        open_network(path)


def test_what_was_checked_is_run(tmp_path, monkeypatch):
    """Whatever the file becomes between the check and the runtime."""
    path = tmp_path / 'a.onnx'
    path.write_bytes(make_model(tensors=[inside()]).SerializeToString())
    np.array([7], np.float32).tofile(tmp_path / 'b.bin')
    monkeypatch.chdir(tmp_path)

    def check_and_replace(*args):
        texts = read_texts(*args)
        other = make_model(tensors=[outside('b.bin')])
        path.write_bytes(other.SerializeToString())
        return texts

    monkeypatch.setattr(onnx_file, 'read_texts', check_and_replace)
    (found,) = open_network(path)(np.zeros((1, 3, 4, 4), np.float32))
    assert (found == 2).all()
    assert (run_unchecked(path) == 7).all()


def test_format_of_onnx_runtime(tmp_path, monkeypatch):
    """Refused even where it looks like a protocol buffer to the check."""
    monkeypatch.setattr(onnx_file, 'read_texts', lambda *args: {})
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / 'a.ort')
    options.add_session_config_entry('session.save_model_format', 'ORT')
    content = make_model(tensors=[inside()]).SerializeToString()
    onnxruntime.InferenceSession(content, options)
    path = tmp_path / 'a.onnx'
    path.write_bytes((tmp_path / 'a.ort').read_bytes())
    onnxruntime.InferenceSession(path.read_bytes())
    with pytest.raises(InputError, match='cannot be read by ONNX Runtime'):
        open_network(path)


def test_all_places_of_tensors_are_known():
    """The table of fields, against the definition of the format."""
    known, todo = {}, [onnx.ModelProto.DESCRIPTOR]
    while todo:
        message = todo.pop()
        if message.name in known:
            continue
        known[message.name] = {
            field.number: field.message_type.name
            for field in message.fields
            if field.message_type
        }
        todo += [f.message_type for f in message.fields if f.message_type]
    holding = {'TensorProto'}
    for _ in known:
        holding |= {
            name
            for name, held in known.items()
            if holding & set(held.values())
        }
    expected = {
        name: {n: kind for n, kind in held.items() if kind in holding}
        for name, held in known.items()
        if name in holding and name != 'TensorProto'
    }
    assert expected == onnx_file._FIELDS
    numbers = {f.name: f.number for f in onnx.TensorProto.DESCRIPTOR.fields}
    assert numbers['name'] == onnx_file._NAME
    assert numbers['external_data'] == onnx_file._EXTERNAL_DATA
    assert numbers['data_location'] == onnx_file._DATA_LOCATION
    model = {f.name: f.number for f in onnx.ModelProto.DESCRIPTOR.fields}
    assert model['metadata_props'] == onnx_file._METADATA


def test_texts():
    model = make_model(tensors=[inside()])
    for key, value in (('a', 'b'), ('ä', 'c' * 1000), ('empty', '')):
        model.metadata_props.add(key=key, value=value)
    found = read_texts(model.SerializeToString(), 'a.onnx')
    assert found == {'a': 'b', 'ä': 'c' * 1000, 'empty': ''}


def nested(depth):
    """A graph in a node's attribute, in a graph, and so on."""
    content = b''
    for number in (6, 5, 1) * depth:
        length = len(content)
        digits = [length & 127 | 128, length >> 7 & 127 | 128, length >> 14]
        content = bytes([number << 3 | 2, *digits]) + content
    return (
        make_model([], [inside()]).SerializeToString()
        + bytes([7 << 3 | 2, len(content) & 127 | 128, len(content) >> 7])
        + content
    )


@pytest.mark.parametrize(
    'content, message',
    [
        (b'<html>', 'of the unknown kind 4'),
        (b'\x3a\x05abc', 'field 7 is cut off'),
        (b'\x3a', 'a number has no end'),
        (b'\x00\x01', 'there is no field 0$'),
        (b'\xff' * 12, 'a number has no end'),
        (b'\x0d\x01', 'field 1 is cut off'),
        (b'\x72\x04\x0a\x02\xff\xfe', "'utf-8' codec"),
        (b'\x72\x02\x08\x01', 'a text is a number'),
        (nested(40), 'expected at most 100 messages'),
    ],
)
def test_broken_content(content, message):
    with pytest.raises(InputError, match=f"'a.onnx' cannot .*{message}"):
        read_texts(content, 'a.onnx')


def test_nested_graphs_that_are_fine():
    assert read_texts(nested(20), 'a.onnx') == {}


def test_fields_of_all_kinds_are_passed():
    # Numbers of 4 and of 8 bytes and a varint, in fields without a name.
    content = b'\xa5\x06abcd' + b'\xa1\x06abcdefgh' + b'\xa0\x06\x96\x01'
    whole = content + make_model(tensors=[inside()]).SerializeToString()
    assert read_texts(whole, 'a.onnx') == {}


@pytest.mark.parametrize(
    'kinds',
    [
        (TensorProto.FLOAT, TensorProto.INT64),
        (TensorProto.INT64, TensorProto.FLOAT),
    ],
)
def test_networks_of_other_numbers(kinds, tmp_path):
    ports = [
        helper.make_tensor_value_info(name, kind, SHAPE)
        for name, kind in zip('xy', kinds)
    ]
    node = helper.make_node('Cast', ['x'], ['y'], to=kinds[1])
    graph = helper.make_graph([node], 'graph', ports[:1], ports[1:])
    opset = helper.make_opsetid('', 20)
    path = tmp_path / 'a.onnx'
    onnx.save(
        helper.make_model(graph, opset_imports=[opset], ir_version=9),
        str(path),
    )
    with pytest.raises(InputError, match='expected one from a tensor of fl'):
        open_network(path)
