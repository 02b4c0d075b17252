import cv2
import numpy as np
import pytest
import xtcocotools.mask as cocomask
from hypothesis import given
from hypothesis import strategies as st

from mmpose_ext.datasets.transforms import BottomupGridMask

# A crowd: columns 8 to 15 of rows 4 to 19.
REGION = np.zeros((24, 40), np.uint8, order='F')
REGION[4:20, 8:16] = 1


def run_lengths(compressed):
    rle = cocomask.encode(REGION)
    if compressed:
        return rle
    column_wise = REGION.flatten(order='F')
    changes = np.flatnonzero(np.diff(column_wise)) + 1
    counts = np.diff([0, *changes, column_wise.size]).tolist()
    return dict(size=[24, 40], counts=counts)


POLYGON = [[8, 4, 16, 4, 16, 20, 8, 20]]
SEGMENTS = dict(
    polygon=POLYGON,
    run_lengths=run_lengths(False),
    compressed=run_lengths(True),
)


def make_results(*segs, warp_mat=None, **kwargs):
    return dict(
        img_shape=(24, 40),
        input_size=(40, 24),
        heatmaps=np.zeros((3, 6, 10), np.float32),
        warp_mat=np.eye(2, 3) if warp_mat is None else np.array(warp_mat),
        invalid_segs=list(segs),
        **kwargs,
    )


@pytest.mark.parametrize('kind', SEGMENTS)
def test_every_format_is_masked(kind):
    mask = BottomupGridMask()(make_results(SEGMENTS[kind]))['heatmap_mask']
    # Cell x is at 4 x px: columns 2 and 3, rows 1 to 4.
    expected = np.ones((6, 10), bool)
    expected[1:5, 2:4] = False
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, expected)


@given(seed=st.integers(0, 2**31), stride=st.sampled_from([1, 2, 4, 8]))
def test_any_region_in_any_format(seed, stride):
    """Without a warp, a cell is masked where its own pixel is."""
    rng = np.random.default_rng(seed)
    height, width = stride * rng.integers(1, 9, 2)
    regions = rng.random((3, height, width)) < 0.2
    encoded = [
        cocomask.encode(np.asfortranarray(region, dtype=np.uint8))
        for region in regions
    ]
    encoded[1] = dict(encoded[1], counts=encoded[1]['counts'].decode())
    changes = [
        0, *np.flatnonzero(np.diff(regions[2].flatten('F'))) + 1,
        height * width,
    ]  # fmt: skip
    counts = np.diff(changes).tolist()
    if regions[2][0, 0]:  # run lengths start with what is not masked
        counts.insert(0, 0)
    encoded[2] = dict(size=[height, width], counts=counts)
    grid = (height // stride, width // stride)
    mask = BottomupGridMask()(
        dict(
            img_shape=(height, width),
            input_size=(width, height),
            warp_mat=np.eye(2, 3),
            heatmaps=np.zeros((1, *grid)),
            invalid_segs=encoded,
        )
    )['heatmap_mask']
    expected = ~regions.any(0)[::stride, ::stride]
    np.testing.assert_array_equal(mask, expected)


def test_union_and_nothing():
    other = [[32, 0, 40, 0, 40, 8, 32, 8]]
    results = make_results(run_lengths(False), other, [])
    mask = BottomupGridMask()(results)['heatmap_mask']
    assert (~mask).sum() == 8 + 4
    for nothing in (make_results(), make_results([])):
        assert BottomupGridMask()(nothing)['heatmap_mask'].all()


def test_warps_to_the_grid():
    """Half the size, and 8 px to the right in the input."""
    results = make_results(POLYGON, warp_mat=[[0.5, 0, 8], [0, 0.5, 0]])
    mask = BottomupGridMask()(results)['heatmap_mask']
    expected = np.zeros((6, 10), bool)
    for row in range(6):
        for column in range(10):
            x, y = 2 * (4 * column - 8), 2 * 4 * row
            inside = 0 <= x < 40 and 0 <= y < 24
            crowd = 8 <= x < 16 and 4 <= y < 20
            expected[row, column] = inside and not crowd
    np.testing.assert_array_equal(mask, expected)


def test_flip_mirrors_the_grid():
    plain = BottomupGridMask()(make_results(POLYGON))['heatmap_mask']
    results = make_results(POLYGON, flip_direction='horizontal')
    mask = BottomupGridMask()(results)['heatmap_mask']
    np.testing.assert_array_equal(mask, plain[:, ::-1])
    results = make_results(POLYGON, flip_direction=None)
    np.testing.assert_array_equal(
        BottomupGridMask()(results)['heatmap_mask'], plain
    )


def test_cut_at_one_half():
    """By a warp between pixels, as OpenCV has it."""
    matrix = np.array([[0.9, 0.2, 1.3], [-0.2, 0.9, 2.7]])
    results = make_results(POLYGON, warp_mat=matrix)
    mask = BottomupGridMask()(results)['heatmap_mask']
    soft = cv2.warpAffine(1 - REGION.astype(float), matrix / 4, (10, 6))
    np.testing.assert_array_equal(mask, soft > 0.5)
    assert 0 < mask.sum() < mask.size


def test_half_is_masked():
    """A cell in the middle between a pixel that counts and one of a crowd."""
    for shift in (0.5, 0.75, 0.25):
        results = make_results(POLYGON, warp_mat=[[1, 0, shift], [0, 1, 0]])
        results['heatmaps'] = np.zeros((3, 24, 40), np.float32)
        mask = BottomupGridMask()(results)['heatmap_mask']
        # Pixel 7 counts, 8 is crowd; 15 is crowd, 16 counts.
        columns = np.flatnonzero(~mask[10])
        expected = [*range(8 if shift <= 0.5 else 9, 17)]
        if shift < 0.5:
            expected = expected[:-1]
        # The image's own edge is at half of its outermost pixel.
        assert columns[columns > 0].tolist() == expected


def test_without_heatmaps_it_is_that_of_the_input():
    """Half the size, and 8 px to the right in an input of 32 x 20 px."""
    results = make_results(POLYGON, warp_mat=[[0.5, 0, 8], [0, 0.5, 0]])
    del results['heatmaps']
    results['input_size'] = [32, 20]
    mask = BottomupGridMask()(results)['heatmap_mask']
    # The image covers columns 8 to 27 of rows 0 to 11, the crowd in it
    # columns 12 to 15 of rows 2 to 9.
    expected = np.zeros((20, 32), bool)
    expected[:12, 8:28] = True
    expected[2:10, 12:16] = False
    np.testing.assert_array_equal(mask, expected)


def test_heatmaps_of_several_levels():
    """As of GenerateTarget(multilevel=True): a mask for each."""
    results = make_results(POLYGON, flip_direction='horizontal')
    levels = [np.zeros((3, 6, 10)), np.zeros((3, 3, 5)), np.zeros((1, 24, 40))]
    results['heatmaps'] = levels
    masks = BottomupGridMask()(results)['heatmap_mask']
    assert isinstance(masks, list)
    assert [mask.shape for mask in masks] == [(6, 10), (3, 5), (24, 40)]
    for mask, maps in zip(masks, levels):
        alone = BottomupGridMask()(dict(results, heatmaps=maps))
        np.testing.assert_array_equal(mask, alone['heatmap_mask'])
    # Mirrored: columns 8 to 15 of 40 become columns 24 to 31.
    expected = np.ones((24, 40), bool)
    expected[4:20, 24:32] = False
    np.testing.assert_array_equal(masks[2], expected)
    # At 8 x px: column 1, rows 1 and 2, mirrored to column 3.
    expected = np.ones((3, 5), bool)
    expected[1:3, 3] = False
    np.testing.assert_array_equal(masks[1], expected)


def test_an_image_that_is_not_warped_is_the_input():
    results = make_results(POLYGON)
    warped = BottomupGridMask()(results.copy())['heatmap_mask']
    del results['warp_mat']
    np.testing.assert_array_equal(
        BottomupGridMask()(results)['heatmap_mask'], warped
    )


def test_vertical_flips_are_refused():
    results = make_results(flip_direction='vertical')
    with pytest.raises(ValueError, match="got 'vertical'"):
        BottomupGridMask()(results)


def test_repr():
    assert repr(BottomupGridMask()) == 'BottomupGridMask()'
