"""The little of ``pkg_resources`` that is called; setuptools 82 dropped it.

MMEngine finds the folders of installed packages with it, and reloads it.
"""

from importlib.metadata import PackageNotFoundError, distribution

DistributionNotFound = PackageNotFoundError


class Distribution:
    """What is installed under a name.

    Args:
        name (str): The name on the package index.

    Attributes:
        location (str): The folder that the package's modules lie in.

    Raises:
        DistributionNotFound: Nothing of this name is installed.
    """

    def __init__(self, name: str) -> None:
        self._distribution = distribution(name)
        self.location = str(self._distribution.locate_file(''))

    def has_metadata(self, name: str) -> bool:
        """Whether a metadata file is there, as ``top_level.txt``."""
        return self._distribution.read_text(name) is not None

    def get_metadata(self, name: str) -> str:
        """The text of a metadata file."""
        return self._distribution.read_text(name)


get_distribution = Distribution


def fixup_namespace_packages(path: str) -> None:
    """Do nothing; pytest calls it once a ``pkg_resources`` is imported."""
