"""Whatever a file holds, it is refused with a message or it is read."""

import copy
import json
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmpose_ext.checks import check_detections, read_annotations
from mmpose_ext.checks.coco.api import CheckedCOCO
from mmpose_ext.errors import InputError

DEEP = [[[[0]]]]
for _ in range(60):
    DEEP = [DEEP]
VALUES = st.one_of(
    st.sampled_from(
        [
            *(None, True, False, '', 'x', '1', '\ud800', 'a\0b', [], {}),
            *([[]], [None], [[None]], [[1, 2]], {'size': 1}, DEEP),
            *(0, -1, 1, 0.5, 1.0, 2**31, 2**63, -(2**70), 10**400),
            *(1e-9, 1e300, float('nan'), float('inf'), -float('inf')),
            dict(size=[80, 100], counts='04'),
            dict(size=[80, 100], counts=[-1, 8001]),
            dict(size=[2**40, 2**40], counts='o' * 30),
        ]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.dictionaries(st.text(), inner, max_size=5)
        ),
        max_leaves=8,
    ),
)


def places(node, path=()):
    """The paths of all values in a content."""
    yield path
    if isinstance(node, dict):
        for key, value in node.items():
            yield from places(value, (*path, key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            yield from places(value, (*path, i))


def change(data, node):
    """Replace, delete or repeat values at random places."""
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(places(node))))
        if not path:
            node = copy.deepcopy(data.draw(VALUES))
            break
        parent = node
        for key in path[:-1]:
            parent = parent[key]
        how = data.draw(st.sampled_from(['replace', 'delete', 'repeat']))
        if how == 'replace':
            parent[path[-1]] = copy.deepcopy(data.draw(VALUES))
        elif how == 'delete':
            del parent[path[-1]]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(parent[path[-1]]))
        else:
            parent[f'{path[-1]}2'] = copy.deepcopy(parent[path[-1]])
        if not isinstance(node, (dict, list)):
            break
    return node


@settings(max_examples=200, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_changed_files(data, content):
    changed = change(data, copy.deepcopy(content))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'a.json')
        path.write_text(json.dumps(changed))
        try:
            found = read_annotations(str(path), img_dir=folder)
        except InputError as e:
            assert str(path) in str(e)
            assert len(str(e)) < 5000
            str(e).encode()  # what a terminal can show
            return
        # All that it accepts can be used.
        sizes = {i['id']: (i['height'], i['width']) for i in found['images']}
        assert len(sizes) == len(found['images'])
        for a in found['annotations']:
            assert a['id'] != 0 and a['image_id'] in sizes
            assert np.isfinite(a['bbox']).all() and np.isfinite(a['area'])
            assert np.isfinite(a.get('keypoints', 0)).all()
            assert a['iscrowd'] in (0, 1)
        api = CheckedCOCO(str(path))
        for a in found['annotations']:
            shape = sizes[a['image_id']]
            assert api.annToMask(a).shape == shape
            copy.deepcopy(a)


BOX = dict(image_id=1, category_id=1, bbox=[1, 2, 3, 4], score=0.5)


@settings(max_examples=200)
@given(data=st.data())
def test_changed_detections(data):
    content = change(data, [dict(BOX, bbox=[1, 2, 3, 4]) for _ in range(2)])
    try:
        count = check_detections(content, 'd.json', [1])
    except InputError as e:
        assert 'd.json' in str(e)
    else:
        assert 0 <= count <= len(content)
        persons = [box for box in content if box['category_id'] == 1]
        assert all(np.isfinite(box['bbox'][:4]).all() for box in persons)


@pytest.mark.parametrize('opening', ['[', '{"a":'])
def test_nested_100000_deep(opening, read, content):
    text = json.dumps(content)
    deep = opening * 10**5
    for broken in (deep, text[:-1] + ', "x": ' + deep):
        with pytest.raises(InputError, match='nested too deeply'):
            read(broken)
