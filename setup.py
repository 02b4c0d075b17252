"""Packaging of mmpose_ext.

Reads plain files only: neither the package nor torch is imported, so a build
in pip's isolated environment works.
"""

import re
import shutil
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
DETECTION = ['mmdet>=3.0,<4', 'pycocotools>=2.0.2']
OPENMMLAB = ['mmengine>=0.10,<1', 'mmpose>=1.3,<2', *DETECTION]


def read_version() -> str:
    text = (ROOT / 'mmpose_ext' / 'version.py').read_text()
    return re.search(r"__version__ = '(.+)'", text).group(1)


def read_requirements(name: str) -> list:
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


def stand_in(name: str, marker: str = '') -> list:
    """A distribution without modules, which pip builds in the checkout.

    A source distribution has none: its wheels name no folder of a builder.
    """
    folder = ROOT / 'requirements' / 'stand-ins' / name
    return [f'{name} @ {folder.as_uri()}{marker}'] if folder.exists() else []


# The whole stack, but for mmcv and xtcocotools.
STACK = [
    *OPENMMLAB,
    'torchvision',
    'opencv-python>=4.5',
    'numpy<2.5',
    'openmim>=0.3.9',
    # mim imports pkg_resources: 80.9 warns of that, 82 has none.
    'setuptools<80.9',
    # mim has no use for it, and from 0.0.12 on it asks for old packages.
    'openxlab<0.0.12',
    # MMPose has no use for it. Later ones cannot be built in isolation.
    'chumpy<0.67',
]

# Setuptools would pack what an older build has left there.
shutil.rmtree(ROOT / 'build', ignore_errors=True)

setup(
    name='mmpose-ext',
    version=read_version(),
    description='Published human-pose methods as an add-on to MMPose 1.x',
    long_description=(ROOT / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    classifiers=[
        'Development Status :: 3 - Alpha',
        'Intended Audience :: Science/Research',
        'Operating System :: POSIX :: Linux',
        'Programming Language :: Python :: 3',
        *(f'Programming Language :: Python :: 3.{i}' for i in range(10, 14)),
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    keywords='human pose estimation, keypoint detection, MMPose, MMDetection',
    packages=find_packages(include=['mmpose_ext', 'mmpose_ext.*']),
    # Weights, and what mim looks for, in the place where it looks: .mim holds
    # links to the folders of the checkout, and the wheel the files themselves.
    package_data={
        'mmpose_ext': [
            'weights/*',
            '.mim/model-index.yml',
            '.mim/configs/**/*.py',
            '.mim/configs/**/*.md',
            '.mim/configs/**/*.yml',
            '.mim/tools/**/*.py',
            '.mim/demo/**/*.py',
        ]
    },
    python_requires='>=3.10',
    install_requires=read_requirements('runtime.txt'),
    extras_require={
        # As in MMPose, this is for `mim install`, which finds a compiled
        # mmcv. A plain pip would compile mmcv without its ops, and would
        # put it beside a maintained fork that has the same import name.
        'mim': [*OPENMMLAB, 'mmcv>=2.1,<2.3'],
        # MMPose's heads import MMDetection.
        'detection': DETECTION,
        # For an empty environment: nothing has to be compiled. MMDetection
        # 3.3 refuses mmcv 2.2.
        'all': [*STACK, 'mmcv-lite>=2.1,<2.2', *stand_in('xtcocotools')],
        # For one with a compiled mmcv, and xtcocotools where it has wheels.
        'compiled': [
            *STACK,
            'mmcv>=2.1,<2.2',
            *stand_in('xtcocotools', ' ; python_version >= "3.12"'),
        ],
        'deploy': read_requirements('deploy.txt'),
        'tests': read_requirements('tests.txt'),
    },
    zip_safe=False,
)
