"""demo/video_demo.py, from the command line."""

import json
import re
import runpy
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmpose_ext.errors import InputError
from mmpose_ext.inference.drawing import draw_label
from mmpose_ext.inference.files import read_image
from mmpose_ext.inference.poses import estimate_poses, load_pose_model
from mmpose_ext.inference.video import VideoWriter

DEMO = Path(__file__).parents[2] / 'demo/video_demo.py'
main = runpy.run_path(str(DEMO))['main']

NOBODY = ['--score-thr', 9]
ALL = ['--score-thr', 0, '--kpt-thr', 0]


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
def demo(bottomup_model, tmp_path):
    def run(source, out, *options, model=bottomup_model):
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


def test_the_rate_is_in_the_corner(demo, frames, clock, capsys):
    out = demo(frames, 'out', *NOBODY)
    assert left(out) == ['frame10.png', 'frame2.png', 'frame3.png']
    for i, rate in ((2, '10.0'), (3, '5.0'), (10, '2.5')):
        name = f'frame{i}.png'
        drawn = cv2.imread(str(out / name))
        plain = enlarged(cv2.imread(str(frames / name)))
        np.testing.assert_array_equal(drawn, draw_label(plain, f'{rate} FPS'))
    printed = capsys.readouterr()
    assert printed.out.endswith(f'3 frames, median 5.0 FPS: {out}\n')
    assert 'Estimating poses' in printed.err


def test_video_to_video(demo, video):
    out = demo(video, 'new/out.avi', *NOBODY)
    rate, images = read_video(out)
    assert rate == 12.5
    _, given = read_video(video)
    assert len(images) == len(given) == 4
    for image, plain in zip(images, given):
        changed = difference(image, enlarged(plain))
        assert changed[:50, :200].max() > 100
        assert changed[60:].mean() < 8
    assert left(out.parent) == ['out.avi']


def test_a_video_is_enough(stand_in, video, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    main([str(video), '--max-frames', '2', '--predictions', 'poses.json'])
    _, images = read_video('poses.mp4')
    assert len(images) == 2
    frames = json.loads(Path('poses.json').read_text())['instance_info']
    for frame in frames:
        (person,) = frame['instances']
        assert np.shape(person['keypoints']) == (14, 2)
        assert person['bbox'] == [[0, 0, 256, 192]]


def test_frames_to_video(demo, frames):
    few = '--max-frames', 1
    assert read_video(demo(frames, 'a.mp4', *few))[0] == 25
    rate, images = read_video(demo(frames, 'b.mp4', '--fps', 29.97, *few))
    assert rate == pytest.approx(29.97)
    assert len(images) == 1


def test_persons_are_drawn(demo, video, capsys):
    nobody = demo(video, 'nobody', *NOBODY)
    assert re.search(
        r'\nno person scored at least 9: the highest score was \d\.\d+, see '
        '--score-thr\n',
        capsys.readouterr().err,
    )
    out = demo(video, 'out', *ALL, '--max-frames', 2)
    assert left(nobody) == [f'00000{i}.jpg' for i in (1, 2, 3, 4)]
    assert left(out) == ['000001.jpg', '000002.jpg']
    for name in left(out):
        a, b = (cv2.imread(str(f / name)) for f in (nobody, out))
        assert difference(a, b)[60:].max() > 60
    demo(video, 'out', *NOBODY, '--resume', '--max-frames', 2)
    assert 'no person' not in capsys.readouterr().err


def test_predictions(demo, bottomup_model, frames, tmp_path, clock):
    path = tmp_path / 'poses.json'
    demo(frames, 'out.mp4', '--predictions', path, *ALL)
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
    config, checkpoint = bottomup_model
    model = load_pose_model(Config.fromfile(config), checkpoint, 'cpu')
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


def test_topdown(demo, pose_model, tiny_detector, frames, tmp_path):
    path = tmp_path / 'poses.json'
    more = ['--overwrite', '--predictions', path]
    demo(frames, 'out', *more, model=pose_model)
    for frame in json.loads(path.read_text())['instance_info']:
        (person,) = frame['instances']
        assert person['bbox'] == [[0, 0, 256, 192]]

    config, checkpoint = tiny_detector
    more += ['--det-config', config, '--det-checkpoint', checkpoint]
    more += ['--score-thr', 0.6]
    demo(frames, 'out', *more, model=pose_model)
    found = json.loads(path.read_text())['instance_info']
    persons = [p for frame in found for p in frame['instances']]
    assert len(persons) > 0
    assert min(p['bbox_score'] for p in persons) >= 0.6
    assert all(p['bbox'] != [[0, 0, 256, 192]] for p in persons)


def test_existing_output(demo, video, capsys):
    out = demo(video, 'out', '--max-frames', 2)
    first = out / '000001.jpg'
    first.write_bytes(b'mine')
    with pytest.raises(InputError, match='not empty'):
        demo(video, 'out')
    capsys.readouterr()
    demo(video, 'out', '--resume')
    assert len(left(out)) == 4
    assert first.read_bytes() == b'mine'
    assert re.match('2 frames, median .* FPS:', last_line(capsys))
    demo(video, 'out', '--resume')
    assert last_line(capsys) == f'0 frames: {out}'
    demo(video, 'out', '--overwrite')
    assert first.read_bytes() != b'mine'

    out = demo(video, 'a.avi', '--max-frames', 1)
    with pytest.raises(InputError, match=r"a\.avi' exists already"):
        demo(video, 'a.avi')
    demo(video, 'a.avi', '--overwrite')
    assert len(read_video(out)[1]) == 4


def test_inputs_are_not_replaced(demo, frames, video, tmp_path):
    # Refused before the models are looked for.
    models = ('gone.py', 'gone.pth')
    frame = frames / 'frame3.png'
    link = tmp_path / 'link'
    link.symlink_to(frames)
    before = {p: p.read_bytes() for p in tmp_path.rglob('*.*')}
    for source, out, poses, message in [
        (video, video, None, r"video\.avi' would replace its own"),
        (frames, 'a.mp4', frame, r"frame3\.png' would replace its own"),
        (frames, 'link', None, r"frame2\.png' would replace its own"),
        (tmp_path / '*/*3.png', tmp_path, None, r"frame3\.png' would"),
        (video, 'a.mp4', tmp_path / 'a.mp4', "what --out '.*a.mp4' writes"),
        (frames, 'a', tmp_path / 'a/frame2.png', "what --out '.*a' writes"),
    ]:
        options = [] if poses is None else ['--predictions', poses]
        with pytest.raises(InputError, match=message):
            demo(source, out, *options, '--overwrite', model=models)
    assert {p: p.read_bytes() for p in tmp_path.rglob('*.*')} == before


def last_line(capsys) -> str:
    return capsys.readouterr().out.splitlines()[-1]


def test_a_failure_leaves_no_half_video(demo, frames, tmp_path):
    out = demo(frames, 'out.mp4')
    before = out.read_bytes()
    # With a whole header, so that the video is started.
    whole = (frames / 'frame3.png').read_bytes()
    (frames / 'frame9.png').write_bytes(whole[:9999])
    with pytest.raises(InputError, match=r"frame9\.png' cannot be decoded"):
        demo(frames, 'out.mp4', '--overwrite')
    assert left(tmp_path) == ['frames', 'out.mp4']
    assert out.read_bytes() == before

    # What a folder has is whole, and can be resumed from.
    with pytest.raises(InputError, match=r'frame9\.png'):
        demo(frames, 'folder')
    assert left(tmp_path / 'folder') == ['frame2.png', 'frame3.png']

    cv2.imwrite(str(frames / 'frame9.png'), np.zeros((90, 60, 3), np.uint8))
    for out in ('other.mp4', 'other.avi'):  # before models are looked for
        with pytest.raises(InputError, match=r"frame9\.png' is 60 x 90 px"):
            demo(frames, out, model=('gone.py', 'gone.pth'))
    assert left(tmp_path) == ['folder', 'frames', 'out.mp4']
    demo(frames, 'folder', '--resume')
    assert len(left(tmp_path / 'folder')) == 4


def test_mistakes(demo, bottomup_model, frames, tmp_path):
    broken = tmp_path / 'broken.mp4'
    broken.write_bytes(b'no video')
    poses = ['--predictions', tmp_path / 'poses.json']
    lifter = 'mmpose::body_3d_keypoint/video_pose_lift/h36m/'
    lifter += 'video-pose-lift_tcn-1frm-supv-cpn-ft_8xb128-160e_h36m.py'
    lifter = dict(model=(lifter, bottomup_model[1]))
    before = left(tmp_path)
    for source, out, options, model, message in [
        (broken, 'a.mp4', [], {}, r'broken\.mp4.* decoded'),
        (broken, broken, ['--overwrite'], {}, r'broken\.mp4.* decoded'),
        (frames, 'a.gif', [], {}, r"unknown suffix '\.gif'"),
        (frames, 'a', ['--resume', *poses], {}, '--predictions needs'),
        (frames, 'a', ['--predictions', broken], {}, 'exists already'),
        (frames, 'a.mp4', [], lifter, 'PoseLifter, expected a Topdown'),
    ]:
        with pytest.raises(InputError, match=message):
            demo(source, out, *options, **model)
        assert left(tmp_path) == before


def test_a_mistake_ends_the_program_with_one_line(run_script):
    status, _, error = run_script(DEMO, 'gone.mp4', 'c.py', '--out', 'a.mp4')
    assert status == 2
    assert error == "error: video 'gone.mp4' does not exist\n"


def test_a_rate_that_is_not_positive(demo, frames, capsys):
    with pytest.raises(SystemExit):
        demo(frames, 'a.mp4', '--fps=0')
    assert "above zero, got '0'" in capsys.readouterr().err
