"""tools/detect_persons.py, from the command line."""

import json
import os
import runpy
from pathlib import Path

import pytest
from mmpose.datasets import CocoDataset

from mmpose_ext.errors import InputError

TOOL = Path(__file__).parents[2] / 'tools/detect_persons.py'
main = runpy.run_path(str(TOOL))['main']


@pytest.fixture
def command(tiny_detector, toy_persons, tmp_path):
    """The tool's arguments; results go to boxes.json in the test's folder."""
    ann_file = toy_persons / 'annotations/person_keypoints_val.json'
    arguments = [
        *(*tiny_detector, '--out', tmp_path / 'boxes.json'),
        *('--ann-file', ann_file, '--img-dir', toy_persons / 'val'),
        *('--batch-size', '2', '--num-workers', '0', '--device', 'cpu'),
    ]
    return [str(argument) for argument in arguments]


def test_mmpose_takes_the_file(command, toy_persons, tmp_path, capsys):
    main([*command, '--eval'])
    boxes = json.loads((tmp_path / 'boxes.json').read_text())
    assert os.listdir(tmp_path) == ['boxes.json']
    printed = capsys.readouterr().out
    assert f'{len(boxes)} persons in 6 images' in printed
    assert 'person AP 0.' in printed

    dataset = CocoDataset(
        data_root=str(toy_persons),
        ann_file='annotations/person_keypoints_val.json',
        data_prefix=dict(img='val/'),
        bbox_file=str(tmp_path / 'boxes.json'),
        test_mode=True,
    )
    assert len(dataset) == len(boxes)
    x, y, w, h = boxes[0]['bbox']
    found = dataset.get_data_info(0)
    assert found['bbox'][0] == pytest.approx([x, y, x + w, y + h])
    assert found['bbox_score'] == pytest.approx([boxes[0]['score']])
    assert found['img_path'].endswith('val/000000000001.jpg')


def test_options_reach_the_detector(command, tmp_path):
    def detect(*options):
        main([*command, '--overwrite', *options])
        return json.loads((tmp_path / 'boxes.json').read_text())

    everything = detect()
    scores = sorted(box['score'] for box in everything)
    middle = (scores[9] + scores[10]) / 2
    strong = [box for box in everything if box['score'] >= middle]
    assert detect('--score-thr', str(middle)) == strong
    assert 0 < len(detect('--nms-thr', '0.2')) < len(everything)
    assert (
        0
        < len(detect('--cfg-options', 'model.test_cfg.max_per_img=50'))
        < len(everything)
    )


def test_mistakes(command, toy_persons, tmp_path):
    empty = tmp_path / 'empty.json'
    empty.write_text('')
    unlabelled = tmp_path / 'unlabelled.json'
    image = dict(id=1, file_name='000000000001.jpg', width=256, height=192)
    unlabelled.write_text(json.dumps(dict(images=[image])))
    for wrong, message in [
        (['--ann-file', 'gone.json'], "gone.json' does not exist"),
        (['--ann-file', str(empty)], 'is empty'),
        (['--img-dir', str(toy_persons)], '000000000001.jpg'),
        (['--ann-file', str(unlabelled), '--eval'], 'no boxes of persons'),
        (['--cfg-options', 'model.backbone.base_channels=4'], 'backbone'),
    ]:
        with pytest.raises(InputError, match=message):
            main([*command, *wrong])
    assert not (tmp_path / 'boxes.json').exists()

    (tmp_path / 'boxes.json').write_text('mine')
    with pytest.raises(InputError, match=r'boxes\.json.* exists'):
        main(command)
    assert (tmp_path / 'boxes.json').read_text() == 'mine'


def test_a_mistake_ends_the_program_with_one_line(command, run_script):
    status, _, error = run_script(TOOL, *command, '--ann-file', 'gone.json')
    assert status == 2
    assert error.startswith("error: annotation file 'gone")
