"""Packaging of mmpose_ext.

Reads plain files only: neither the package nor torch is imported, so a build
in pip's isolated environment works.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
DETECTION = ['mmdet>=3.0,<4', 'pycocotools>=2.0.2']


def read_version() -> str:
    text = (ROOT / 'mmpose_ext' / 'version.py').read_text()
    return re.search(r"__version__ = '(.+)'", text).group(1)


def read_requirements(name: str) -> list:
    lines = (ROOT / 'requirements' / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


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
        'Topic :: Scientific/Engineering :: Image Recognition',
    ],
    keywords='human pose estimation, keypoint detection, MMPose, MMDetection',
    packages=find_packages(include=['mmpose_ext', 'mmpose_ext.*']),
    # What mim looks for, in the place where it looks: .mim holds links to
    # the folders of the checkout, and the wheel holds the files themselves.
    package_data={
        'mmpose_ext': [
            '.mim/model-index.yml',
            '.mim/configs/**/*.py',
            '.mim/configs/**/*.md',
            '.mim/configs/**/*.yml',
            '.mim/tools/**/*.py',
            '.mim/demo/**/*.py',
        ]
    },
    python_requires='>=3.9',
    install_requires=read_requirements('runtime.txt'),
    extras_require={
        # As in MMPose, these are for `mim install`, which finds a compiled
        # mmcv. A plain pip would compile mmcv without its ops, and would
        # put it beside a maintained fork that has the same import name.
        # MMPose's heads import MMDetection.
        'mim': ['mmengine>=0.10,<1', 'mmcv>=2.1,<2.3', *DETECTION],
        'detection': DETECTION,
        'deploy': read_requirements('deploy.txt'),
        'tests': read_requirements('tests.txt'),
    },
    zip_safe=False,
)
