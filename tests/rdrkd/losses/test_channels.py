import torch

from rdrkd.losses.channels import deviation


def test_deviation_by_hand() -> None:
    """Channel 0 has 1, 3, 5, 7 over two images: variance 5; channel 1 is constant, so a tenth of the mean counts."""
    teacher = torch.tensor([[[[1.0, 3.0]], [[2.0, 2.0]]], [[[5.0, 7.0]], [[2.0, 2.0]]]])
    root = 5**0.5
    torch.testing.assert_close(deviation(teacher), torch.tensor([root, 0.1 * root / 2]).view(1, 2, 1, 1))


def test_a_map_without_variance_is_divided_by_something() -> None:
    assert (1 / deviation(torch.ones(2, 3, 4, 4))).isfinite().all()


def test_channels_count_alike_whatever_they_are_multiplied_by() -> None:
    torch.manual_seed(0)
    teacher, student = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    gain = torch.tensor([2.0, 3.0, 4.0]).view(1, 3, 1, 1)
    expected = ((teacher - student) / deviation(teacher)).square().sum()
    torch.testing.assert_close(((teacher - student) * gain / deviation(teacher * gain)).square().sum(), expected)
