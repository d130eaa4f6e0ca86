"""The 35 workloads of Shallue et al. 2018, as its public data archive names them."""

from batchfront.workload.workload import powers_of_two

_ALL = powers_of_two(1, 32_768)
_WHOLE = (*_ALL, 55_000)
_FOURFOLD = tuple(2**k for k in range(3, 16, 2))  # 8, 32, 128, ... 32768
_TRANSFORMER = powers_of_two(16, 32_768)

BATCH_SIZES: dict[str, tuple[int, ...]] = {
    **{
        f"mnist/fc_{hidden}/sgd": _WHOLE
        for hidden in (
            "1024",
            "1024_1024",
            "1024_1024_1024",
            *(f"{width}_{width}_{width}" for width in (64, 128, 256, 512, 2048)),
        )
    },
    "mnist/simple_cnn_base/sgd": _WHOLE,
    "mnist/simple_cnn_base/momentum": _WHOLE,
    "mnist/simple_cnn_base/nesterov_momentum": (1, 2, *_FOURFOLD, 55_000),
    "mnist/simple_cnn_narrow/sgd": _WHOLE,
    "mnist/simple_cnn_wide/sgd": _ALL,
    **{
        f"mnist_subsets/mnist_{size}/simple_cnn_base/nesterov_momentum": (
            *powers_of_two(1, size),
            size,
        )
        for size in (6_875, 13_750, 27_500, 55_000)
    },
    "fashion_mnist/simple_cnn_base/nesterov_momentum": (2, *_FOURFOLD, 55_000),
    **{
        f"solution_quality/{data}/simple_cnn_base/nesterov_momentum": (1, 2, *_FOURFOLD, 55_000)
        for data in ("mnist", "fashion_mnist")
    },
    "cifar_10/resnet_8/nesterov_momentum": powers_of_two(2, 8_192),
    "cifar_10/resnet_8/sgd": powers_of_two(2, 8_192),
    "imagenet/resnet_50/nesterov_momentum": powers_of_two(64, 65_536),
    "imagenet/vgg_11/nesterov_momentum": (32, 64, *powers_of_two(256, 65_536)),
    **{
        f"imagenet_subsets/imagenet_half_{half}/resnet_50/nesterov_momentum": powers_of_two(
            64, 32_768
        )
        for half in ("classes", "images")
    },
    "open_images_v4/resnet_50/nesterov_momentum": powers_of_two(64, 32_768),
    "lm1b/lstm/nesterov_momentum": (16, 64, 256, 1_024, 4_096, 16_384, 32_768),
    **{
        f"lm1b/transformer_{variant}/nesterov_momentum": _TRANSFORMER
        for variant in ("base", "narrow_and_shallow", "shallow", "wide")
    },
    "lm1b/transformer_shallow/momentum": (32, 128, 512, 2_048, 8_192, 32_768),
    "lm1b/transformer_shallow/sgd": (32, 128, 512, 2_048, 8_192),
    "common_crawl/transformer_base/nesterov_momentum": (32, 64, 256, 1_024, 4_096, 16_384),
}
"""Name to batch sizes."""
