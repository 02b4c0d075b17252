"""``python -m mmpose_ext.compat``: what is broken here, what was done.

Where ``mmpose_ext`` cannot be imported, this is not run: see the package.
"""

from .report import print_report

if __name__ == '__main__':
    print_report()
