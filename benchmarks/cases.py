"""The comparisons of docs/benchmarks.md: specs, the reference last."""

HRNET = 'td-hm_hrnet-w32_8xb64-210e_coco-256x192.py'
HRNET_384 = 'td-hm_hrnet-w32_8xb64-210e_coco-384x288.py'
HRNET_MPII = 'td-hm_hrnet-w32_8xb64-210e_mpii-256x256.py'
DEKR = 'dekr_hrnet-w32_8xb10-140e_coco-512x512.py'
RAM_GPR = 'ram-gpr_hrnet-w32_4xb8-240e_coco-256x192.py'
PSM = 'psm_hrnet-w32_8xb32-210e_coco-384x288.py'
CPM2 = 'gccpm-2stage_ushape_mobilenet-v1_1xb32-100e_lip-256x256.py'
CPM6 = 'gccpm-6stage_ushape_mobilenet-v1_1xb32-100e_mpii-256x256.py'
LOGOCAP = 'logocap_hrnet-w32_4xb12-140e_coco-512x512.py'
TOY = 'ram-gpr_hrnet-w16_1xb8-15e_toy-persons-128x96.py'
TOY_DETECTOR = 'rtmdet_r18-w16_1xb8-10e_toy-persons-192x144.py'
TOY_MULTITASK = (
    'multitask-rcnn-rbh_r50-w16-dcn_fpn-c3c5_1xb4-10e_toy-persons-256x192.py'
)
TOY_FILE = 'data/toy_persons/annotations/person_keypoints_train.json'
RUNTIMES = ('compiled', 'onnxruntime', 'openvino', 'openvino-int8', 'eager')
MAPS = 'input_size=(256, 256), heatmap_size=(32, 32), sigma'
WIDE = 'input_size=(512, 512)'


def _all(kind: str, *what: str, **options) -> tuple:
    return [f'{kind}:{w}' for w in what], options


def _runtimes(config: str, **options) -> tuple:
    return [f'{kind}:{config}' for kind in RUNTIMES], options


def _operators(what: str, **options) -> tuple:
    return [f'operators:{what}', f'mmcv-operators:{what}'], options


def _transform(*pair: str) -> tuple:
    return _all('transform', *(f"dict(type='{what})" for what in pair))


def _holes(ours: str, size: tuple, fill, number: tuple = (1, 1)) -> tuple:
    """Ours, and holes of Albumentations of about the same area."""
    return _transform(
        ours,
        "Albumentation', transforms=[dict(type='CoarseDropout', p=1, "
        f'num_holes_range={number}, hole_height_range={size}, '
        f'hole_width_range={size}, fill={fill!r})]',
    )


CUTOUT, SIDES = "Cutout', size=(120, 240)", (120, 240)
BODY, NOISE = "BodyMasking', prob=1", ", fill='noise'"
KEYS = "KeypointMasking', prob=1, size=(24, 72)"
SHUFFLE = "Albumentation', transforms=[dict(type='ChannelShuffle', p=1)]"
CASES = {
    'networks/ram-gpr': _all('network', RAM_GPR, HRNET),
    'runtimes/gccpm': _runtimes(CPM2),
    'runtimes/ram-gpr': _runtimes(RAM_GPR),
    'runtimes/psm-256x192': _runtimes(PSM, shape=(256, 192)),
    'runtimes/logocap-256x256': _runtimes(LOGOCAP, shape=(256, 256)),
    'predictions/bottom-up': _all('predict', LOGOCAP, DEKR),
    'predictions/top-down': _all('predict', CPM2, RAM_GPR, HRNET),
    'trainings/ram-gpr': _all('train', RAM_GPR, HRNET, batch=4),
    'trainings/psm': _all('train', PSM, HRNET_384, batch=2),
    'trainings/gccpm': _all('train', CPM2, CPM6, HRNET_MPII, batch=2),
    'operators/nms': _operators('nms'),
    'operators/roi-align': _operators('roi_align'),
    'operators/train-detector': _operators(TOY_DETECTOR, batch=8),
    'operators/train-multitask': _operators(TOY_MULTITASK, batch=4),
    'codecs/center-offset': _all('encode', LOGOCAP, DEKR),
    'codecs/background-heatmap': _all(
        'encode',
        f"dict(type='BackgroundHeatmap', {MAPS}=7)",
        f"dict(type='MSRAHeatmap', {MAPS}=0.875)",
    ),
    'transforms/cutout': _holes(CUTOUT, SIDES, 128),
    'transforms/cutout-noise': _holes(CUTOUT + NOISE, SIDES, 'random'),
    'transforms/body': _holes(BODY, (120, 216), 128),
    'transforms/body-noise-marked': _holes(
        f'{BODY}{NOISE}, mark_occluded=True', (120, 216), 'random'
    ),
    'transforms/keypoints': _holes(KEYS, (24, 72), 128, (3, 12)),
    'transforms/keypoints-background': _holes(
        f"{KEYS}, fill='background'", (24, 72), 128, (3, 12)
    ),
    'transforms/channels': _transform("ChannelPermutation', prob=1", SHUFFLE),
    'transforms/padded': _transform(
        f"PaddedTopdownAffine', {WIDE}", f"TopdownAffine', {WIDE}"
    ),
    'transforms/short-side-affine': _transform(
        f"BottomupShortSideAffine', {WIDE}", f"BottomupRandomAffine', {WIDE}"
    ),
    'transforms/short-side-resize': _transform(
        f"BottomupShortSideResize', {WIDE}",
        f"BottomupResize', {WIDE}, resize_mode='expand'",
    ),
    'transforms/mask': _transform(
        "BottomupGridMask'", "BottomupGetHeatmapMask'"
    ),
    'data/batch-of-8': ([f'batch:{TOY}', f'train:{TOY}'], dict(batch=8)),
    'data/annotations': ([f'read:{TOY_FILE}', f'json:{TOY_FILE}'], {}),
    'evaluation/keypoints': (['evaluate:5000', 'xtcocotools:5000'], {}),
    'evaluation/keypoints-loadres': (
        ['evaluate:loadRes+5000', 'xtcocotools:loadRes+5000'],
        {},
    ),
    'testing/toy-persons': ([f'test:{TOY}', f'mmpose-test:{TOY}'], {}),
}
