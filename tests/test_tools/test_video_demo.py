"""demo/video_demo.py, from the command line."""

import json
import re
import runpy
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.models import build_pose_estimator

from mmpose_ext.errors import InputError
from mmpose_ext.inference.drawing import draw_label
from mmpose_ext.inference.files import read_image
from mmpose_ext.inference.poses import estimate_poses, load_pose_model
from mmpose_ext.inference.video import VideoWriter

ROOT = Path(__file__).parents[2]
BOTTOMUP = ROOT / 'tests/tiny_bottomup.py'
main = runpy.run_path(str(ROOT / 'demo/video_demo.py'))['main']

NOBODY = ['--score-thr', 9]
ALL = ['--score-thr', 0, '--kpt-thr', 0]


def save_random_weights(config, path) -> None:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmpose'):
        model = build_pose_estimator(Config.fromfile(config).model)
    if config == BOTTOMUP:  # persons somewhere, of 50 pixels or so
        model.head.heatmap_conv_layers[-1].bias.data.fill_(0.5)
        model.head.displacement_conv_layers[-1].weight.data.normal_(0, 12)
    torch.save(dict(state_dict=model.state_dict(), meta={}), path)


@pytest.fixture(scope='module')
def bottomup(tmp_path_factory):
    path = tmp_path_factory.mktemp('bottomup') / 'random.pth'
    save_random_weights(BOTTOMUP, path)
    return str(BOTTOMUP), str(path)


@pytest.fixture(scope='module')
def topdown(tiny_config, tmp_path_factory):
    path = tmp_path_factory.mktemp('topdown') / 'random.pth'
    save_random_weights(tiny_config, path)
    return str(tiny_config), str(path)


@pytest.fixture
def frames(toy_persons, tmp_path):
    """A folder with frames of 256 x 192 pixels: 2, 3 and 10."""
    folder = tmp_path / 'frames'
    folder.mkdir()
    for i, number in enumerate((2, 3, 10), start=1):
        image = read_image(toy_persons / f'val/{i:012d}.jpg')
        cv2.imwrite(str(folder / f'frame{number}.png'), image)
    return folder


@pytest.fixture
def video(toy_persons, tmp_path):
    """A video of four frames of 256 x 192 pixels, 12.5 per second."""
    path = tmp_path / 'video.avi'
    with VideoWriter(path, 12.5) as writer:
        for i in range(1, 5):
            image = read_image(toy_persons / f'val/{i:012d}.jpg')
            writer.write(str(i), image)
    return path


@pytest.fixture
def demo(tmp_path):
    def run(source, model, out, *options):
        options = ['--device', 'cpu', '--out', tmp_path / out, *options]
        main([*map(str, (source, *model, *options))])
        return tmp_path / out

    return run


@pytest.fixture
def clock(monkeypatch):
    """Inference takes 0.1, 0.2, 0.4, 0.8 ... seconds."""
    times = iter(t for i in range(9) for t in (0, 0.1 * 2**i))
    monkeypatch.setitem(
        main.__globals__, 'device_time', lambda device: next(times)
    )


def read_video(path):
    capture = cv2.VideoCapture(str(path))
    images = []
    while True:
        good, image = capture.read()
        if not good:
            return capture.get(cv2.CAP_PROP_FPS), images
        images.append(image)


def enlarged(image) -> np.ndarray:
    return cv2.resize(image, (768, 576), interpolation=cv2.INTER_CUBIC)


def difference(image, other) -> np.ndarray:
    return np.abs(image.astype(int) - other).max(axis=2)


def left(folder: Path):
    return sorted(path.name for path in folder.iterdir())


def test_the_rate_is_in_the_corner(demo, bottomup, frames, clock, capsys):
    out = demo(frames, bottomup, 'out', *NOBODY)
    assert left(out) == ['frame10.png', 'frame2.png', 'frame3.png']
    for name, rate in [
        ('frame2.png', '10.0'),
        ('frame3.png', '5.0'),
        ('frame10.png', '2.5'),
    ]:
        drawn = cv2.imread(str(out / name))
        plain = enlarged(cv2.imread(str(frames / name)))
        changed = difference(drawn, plain) > 0
        assert changed[:50, :200].sum() > 1000
        assert not changed[50:].any()
        assert not changed[:, 200:].any()
        np.testing.assert_array_equal(drawn, draw_label(plain, f'{rate} FPS'))
    printed = capsys.readouterr()
    assert printed.out.endswith(f'3 frames, median 5.0 FPS: {out}\n')
    assert 'Estimating poses' in printed.err


@pytest.mark.parametrize('name', ['out.mp4', 'new/out.avi'])
def test_video_to_video(demo, bottomup, video, name):
    out = demo(video, bottomup, name, *NOBODY)
    rate, images = read_video(out)
    assert rate == 12.5
    _, given = read_video(video)
    assert len(images) == len(given) == 4
    for image, plain in zip(images, given):
        changed = difference(image, enlarged(plain))
        assert changed[:50, :200].max() > 100
        assert changed[60:].mean() < 8
    assert not [name for name in left(out.parent) if '.part' in name]


def test_persons_are_drawn(demo, bottomup, video):
    nobody = demo(video, bottomup, 'nobody', *NOBODY)
    out = demo(video, bottomup, 'out', *ALL, '--max-frames', 2)
    assert left(nobody) == [f'00000{i}.jpg' for i in (1, 2, 3, 4)]
    assert left(out) == ['000001.jpg', '000002.jpg']
    for name in left(out):
        a, b = (cv2.imread(str(f / name)) for f in (nobody, out))
        assert difference(a, b)[60:].max() > 60


def test_predictions(demo, bottomup, frames, tmp_path, clock):
    path = tmp_path / 'poses.json'
    demo(frames, bottomup, 'out.mp4', '--predictions', path, *ALL)
    content = json.loads(path.read_text())
    meta = content['meta_info']
    assert meta['dataset_name'] == 'coco'
    assert meta['keypoint_names'][0] == 'nose'
    assert meta['skeleton_links'][0] == [15, 13]
    assert meta['video'] == str(frames)
    found = content['instance_info']
    names = ['frame2.png', 'frame3.png', 'frame10.png']
    assert [f['image'] for f in found] == names
    assert [f['frame_id'] for f in found] == [1, 2, 3]
    assert [f['fps'] for f in found] == pytest.approx([10, 5, 2.5])
    model = load_pose_model(Config.fromfile(bottomup[0]), bottomup[1], 'cpu')
    for frame in found:
        assert (frame['width'], frame['height']) == (256, 192)
        image = read_image(frames / frame['image'])
        poses = estimate_poses(model, image)
        assert len(frame['instances']) == len(poses) == 5
        for i, person in enumerate(frame['instances']):
            np.testing.assert_allclose(
                person['keypoints'], poses.keypoints[i], atol=1e-2
            )
            np.testing.assert_allclose(
                person['bbox'], [poses.bboxes[i]], atol=1e-2
            )
            assert person['bbox_score'] == pytest.approx(
                poses.bbox_scores[i], abs=1e-4
            )


def test_topdown(demo, topdown, tiny_detector, frames, tmp_path):
    path = tmp_path / 'poses.json'
    more = ['--overwrite', '--predictions', path]
    demo(frames, topdown, 'out', *more)
    for frame in json.loads(path.read_text())['instance_info']:
        (person,) = frame['instances']
        assert person['bbox'] == [[0, 0, 256, 192]]

    config, checkpoint = tiny_detector
    more += ['--det-config', config, '--det-checkpoint', checkpoint]
    demo(frames, topdown, 'out', *more, '--score-thr', 0.6)
    found = json.loads(path.read_text())['instance_info']
    persons = [p for frame in found for p in frame['instances']]
    assert len(persons) > 0
    assert min(p['bbox_score'] for p in persons) >= 0.6
    assert all(p['bbox'] != [[0, 0, 256, 192]] for p in persons)


def test_rates_of_the_output(demo, bottomup, frames):
    assert read_video(demo(frames, bottomup, 'a.mp4'))[0] == 25
    out = demo(frames, bottomup, 'b.mp4', '--fps', 29.97, '--max-frames', 1)
    rate, images = read_video(out)
    assert rate == pytest.approx(29.97)
    assert len(images) == 1


def test_existing_output(demo, bottomup, video, capsys):
    out = demo(video, bottomup, 'out', '--max-frames', 2)
    first = out / '000001.jpg'
    first.write_bytes(b'mine')
    with pytest.raises(InputError, match='not empty'):
        demo(video, bottomup, 'out')
    capsys.readouterr()
    demo(video, bottomup, 'out', '--resume')
    assert len(left(out)) == 4
    assert first.read_bytes() == b'mine'
    assert re.match('2 frames, median .* FPS:', last_line(capsys))
    demo(video, bottomup, 'out', '--resume')
    assert last_line(capsys) == f'0 frames: {out}'
    demo(video, bottomup, 'out', '--overwrite')
    assert first.read_bytes() != b'mine'

    out = demo(video, bottomup, 'a.avi', '--max-frames', 1)
    with pytest.raises(InputError, match=r"a\.avi' exists already"):
        demo(video, bottomup, 'a.avi')
    demo(video, bottomup, 'a.avi', '--overwrite')
    assert len(read_video(out)[1]) == 4


def test_inputs_are_not_replaced(demo, frames, video, tmp_path):
    # Refused before the models are looked for.
    models = ('gone.py', 'gone.pth')
    frame = frames / 'frame3.png'
    link = tmp_path / 'link'
    link.symlink_to(frames)
    before = {p: p.read_bytes() for p in tmp_path.rglob('*.*')}
    for source, out, poses, message in [
        (video, 'a.mp4', video, r"video\.avi' would replace its own"),
        (video, video, None, r"video\.avi' would replace its own"),
        (frames, 'a.mp4', frame, r"frame3\.png' would replace its own"),
        (frames, 'a', link / frame.name, r"frame3\.png' would replace"),
        (frames, 'link', None, r"frame2\.png' would replace its own"),
        (frame, 'frames', None, r"frame3\.png' would replace its own"),
        (tmp_path / '*/*3.png', tmp_path, None, r"frame3\.png' would"),
        (video, 'a.mp4', tmp_path / 'a.mp4', "what --out '.*a.mp4' writes"),
        (frames, 'a', tmp_path / 'a', "what --out '.*a' writes"),
        (frames, 'a', tmp_path / 'a/frame2.png', "what --out '.*a' writes"),
    ]:
        options = [] if poses is None else ['--predictions', poses]
        with pytest.raises(InputError, match=message):
            demo(source, models, out, *options, '--overwrite')
    assert {p: p.read_bytes() for p in tmp_path.rglob('*.*')} == before


def test_outputs_beside_the_input(demo, bottomup, frames, video, tmp_path):
    before = video.read_bytes()
    poses = ['--predictions', frames / 'poses.json', '--overwrite']
    demo(video, bottomup, tmp_path, *poses, '--max-frames', 1)
    assert left(tmp_path) == ['000001.jpg', 'frames', 'video.avi']
    assert video.read_bytes() == before
    demo(frames, bottomup, 'frames/out', *poses, '--max-frames', 1)
    assert left(frames / 'out') == ['frame2.png']


def test_nobody_scores_enough(demo, bottomup, video, capsys):
    few = ['--max-frames', 2, '--overwrite']
    demo(video, bottomup, 'out', *NOBODY, *few)
    assert re.search(
        r'\nno person scored at least 9: the highest score was \d\.\d+, see '
        '--score-thr\n',
        capsys.readouterr().err,
    )
    demo(video, bottomup, 'out', *ALL, *few)
    demo(video, bottomup, 'out', *NOBODY, '--resume', '--max-frames', 2)
    assert 'no person' not in capsys.readouterr().err


def last_line(capsys) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_a_failure_leaves_no_half_video(demo, bottomup, frames, tmp_path):
    out = demo(frames, bottomup, 'out.mp4')
    before = out.read_bytes()
    # A header that is whole, so that the video has been begun.
    whole = (frames / 'frame3.png').read_bytes()
    (frames / 'frame9.png').write_bytes(whole[:9999])
    with pytest.raises(InputError, match=r"frame9\.png' cannot be decoded"):
        demo(frames, bottomup, 'out.mp4', '--overwrite')
    assert left(tmp_path) == ['frames', 'out.mp4']
    assert out.read_bytes() == before

    # What a folder has is whole, and can be gone on with.
    with pytest.raises(InputError, match=r'frame9\.png'):
        demo(frames, bottomup, 'folder')
    assert left(tmp_path / 'folder') == ['frame2.png', 'frame3.png']

    cv2.imwrite(str(frames / 'frame9.png'), np.zeros((90, 60, 3), np.uint8))
    for out in ('other.mp4', 'other.avi'):  # before models are looked for
        with pytest.raises(InputError, match=r"frame9\.png' is 60 x 90 px"):
            demo(frames, ('gone.py', 'gone.pth'), out)
    assert left(tmp_path) == ['folder', 'frames', 'out.mp4']
    demo(frames, bottomup, 'folder', '--resume')
    assert len(left(tmp_path / 'folder')) == 4


def test_mistakes(demo, bottomup, topdown, tiny_detector, frames, tmp_path):
    config, checkpoint = map(str, tiny_detector)
    detector = ['--det-config', config, '--det-checkpoint', checkpoint]
    empty = tmp_path / 'empty'
    empty.mkdir()
    broken = tmp_path / 'broken.mp4'
    broken.write_bytes(b'no video')
    poses = ['--predictions', tmp_path / 'poses.json']
    other = (bottomup[0], topdown[1])
    before = left(tmp_path)
    for source, model, out, options, message in [
        (tmp_path / 'gone.mp4', bottomup, 'a.mp4', [], r'gone\.mp4'),
        (empty, bottomup, 'a.mp4', [], "no images at '.*empty'"),
        (broken, bottomup, 'a.mp4', [], r'broken\.mp4.* decoded'),
        (frames, bottomup, 'a.gif', [], r"unknown suffix '\.gif'"),
        (frames, bottomup, 'a.mp4', ['--resume'], 'cannot be resumed'),
        (frames, bottomup, 'a', ['--resume', *poses], '--predictions needs'),
        (frames, bottomup, 'frames', ['--overwrite'], 'its own input'),
        (frames, bottomup, 'a', ['--predictions', broken], 'exists already'),
        (frames, other, 'a.mp4', [], 'another architecture'),
        (frames, bottomup, 'a.mp4', detector, 'finds the persons itself'),
        (frames, topdown, 'a.mp4', detector[:2], 'belong together'),
        (frames, (config, checkpoint), 'a.mp4', [], 'RTMDet, expected a Top'),
    ]:
        with pytest.raises(InputError, match=message):
            demo(source, model, out, *options)
        assert left(tmp_path) == before

    shutil.copy(broken, tmp_path / 'b.mp4')
    with pytest.raises(InputError, match=r"b\.mp4' cannot be decoded"):
        demo(tmp_path / 'b.mp4', bottomup, 'b.mp4', '--overwrite')


@pytest.mark.parametrize('rate', ['0', '-5', 'nan', 'inf', 'fast'])
def test_rates_that_are_none(demo, bottomup, frames, rate, capsys):
    with pytest.raises(SystemExit):
        demo(frames, bottomup, 'a.mp4', f'--fps={rate}')
    assert f"above zero, got '{rate}'" in capsys.readouterr().err


def test_a_config_of_neither_kind(demo, bottomup, frames, run_script):
    lifter = 'mmpose::body_3d_keypoint/video_pose_lift/h36m/'
    lifter += 'video-pose-lift_tcn-1frm-supv-cpn-ft_8xb128-160e_h36m.py'
    with pytest.raises(InputError, match='PoseLifter, expected a Topdown'):
        demo(frames, (lifter, bottomup[1]), 'a.mp4')

    status, _, error = run_script(
        *('demo/video_demo.py', frames / 'gone.mp4', *bottomup),
        *('--out', 'a.mp4'),
    )
    assert status == 2
    assert re.fullmatch(r"error: video '.*gone\.mp4' does not exist\n", error)
