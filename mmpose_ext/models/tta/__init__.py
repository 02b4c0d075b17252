from .cells import Cells, cells_of
from .multi_scale_heatmap_tta import MultiScaleHeatmapTTA

__all__ = ['Cells', 'MultiScaleHeatmapTTA', 'cells_of']
