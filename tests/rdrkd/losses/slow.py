"""Loops that several of the losses' slow references share."""

import statistics

from torch import Tensor, nn


def slow_convolution(x: list, layer: nn.Conv2d) -> list:  # type: ignore[type-arg]
    """x[c][i][j] -> the same, with zero padding."""
    weight, bias, pad = layer.weight.tolist(), layer.bias.tolist(), layer.kernel_size[0] // 2
    height, width = len(x[0]), len(x[0][0])
    return [
        [
            [
                bias[o]
                + sum(
                    weight[o][c][pad + di][pad + dj] * x[c][i + di][j + dj]
                    for c in range(len(x))
                    for di in range(-pad, pad + 1)
                    for dj in range(-pad, pad + 1)
                    if 0 <= i + di < height and 0 <= j + dj < width
                )
                for j in range(width)
            ]
            for i in range(height)
        ]
        for o in range(len(weight))
    ]


def slow_block(x: list, block: nn.Sequential) -> list:  # type: ignore[type-arg]
    hidden = [[[max(0.0, v) for v in row] for row in channel] for channel in slow_convolution(x, block[0])]
    return slow_convolution(hidden, block[2])


def slow_deviation(x: Tensor) -> list[float]:
    """Each channel's deviation over the images and cells of a map (B, C, H, W), at least a tenth of their mean."""
    found = [statistics.pstdev(channel.flatten().tolist()) for channel in x.transpose(0, 1)]
    return [max(each, 0.1 * statistics.mean(found)) for each in found]
