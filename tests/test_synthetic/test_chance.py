import numpy as np

from mmpose_ext.synthetic.chance import pick


def test_pick_follows_the_weights():
    rng = np.random.default_rng(0)
    counts = np.bincount([pick(rng, (1, 0, 3)) for _ in range(4000)])
    assert counts[1] == 0
    np.testing.assert_allclose(counts / 4000, [0.25, 0, 0.75], atol=0.03)
