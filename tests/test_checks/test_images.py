"""The image that cannot be read is named."""

import mmengine.registry as root
import pytest
from torch._utils import ExceptionWrapper
from torch.utils.data import DataLoader, Dataset

from mmpose_ext.checks import explain_unreadable_images
from mmpose_ext.errors import InputError

ABSENT, FOLDER = 'does not exist', 'is a folder'
GARBAGE = 'cannot be decoded (8 bytes)'


class Images(Dataset):
    """One image, read as a package's pipelines read it."""

    def __init__(self, scope, path):
        type_ = dict(mmpose='LoadImage', mmdet='LoadImageFromFile')[scope]
        with root.TRANSFORMS.switch_scope_and_registry(scope) as registry:
            self.load = registry.build(dict(type=type_))
        self.path = str(path)

    def __len__(self):
        return 1

    def __getitem__(self, _):
        return self.load(dict(img_path=self.path))


# MMDet's error for an empty file names no file.
@pytest.mark.parametrize(
    ('scope', 'name', 'content', 'message'),
    [
        ('mmpose', '1.jpg', None, ABSENT),
        ('mmpose', '1.jpg', b'', 'cannot be decoded (0 bytes)'),
        ('mmpose', '1.jpg', b'no image', GARBAGE),
        ('mmdet', '1.jpg', b'no image', GARBAGE),
        ('mmdet', '1.JPG', None, ABSENT),
        ('mmdet', '1', None, ABSENT),
        ('mmdet', '.', None, FOLDER),
    ],
)
@pytest.mark.parametrize('in_worker', [False, True])
def test_unreadable_images(scope, name, content, message, in_worker, tmp_path):
    path = f'{tmp_path}/{name}'
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as e, explain_unreadable_images():
        try:
            Images(scope, path)[0]
        except Exception:
            if not in_worker:
                raise
            # As a data loader passes it on.
            ExceptionWrapper(where='in a worker').reraise()
    assert str(e.value) == f"image '{path}' {message}"


def test_an_unreadable_image_in_a_process(tmp_path):
    loader = DataLoader(Images('mmdet', tmp_path / '1.jpg'), num_workers=1)
    with (
        pytest.raises(InputError, match=r"1\.jpg' does not exist$"),
        explain_unreadable_images(),
    ):
        list(loader)


@pytest.mark.parametrize(
    'error',
    [
        ValueError('shapes differ'),
        FileNotFoundError(2, 'No such file or directory', 'boxes.json'),
    ],
)
def test_other_errors_pass(error):
    with pytest.raises(type(error)), explain_unreadable_images():
        raise error
