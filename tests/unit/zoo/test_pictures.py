"""Pictures as inputs, normalised, shifted and mirrored."""

import pytest
import torch
import torch.nn.functional as F

from expunge.contract.problems import generator
from expunge.data import Batch, TensorData
from expunge.problem import Classification, Problem
from expunge.rng import Draws
from expunge.zoo.pictures import Normalise, crop_and_flip, inputs_of, pictures_of

DRAWS = Draws((0, "train"))
PICTURE = torch.rand(3, 6, 8, generator=generator(0)) + 0.1


def copies(*lead):
    rows = torch.arange(lead[-1]).expand(lead)
    return Batch(PICTURE.expand(*lead, *PICTURE.shape), rows % 2, rows)


def variants():
    """Every crop of the padded picture, plain and mirrored, found by cutting one at a time."""
    padded = F.pad(PICTURE, [4, 4, 4, 4])
    found = {}
    for y in range(9):
        for x in range(9):
            cut = padded[:, y : y + 6, x : x + 8]
            found[cut.numpy().tobytes()] = (y, x, 0)
            found[cut.flip(-1).numpy().tobytes()] = (y, x, 1)
    return found


def test_every_crop_and_flip_is_as_likely():
    """8,100 copies: each of 81 places within 5 sd of 100, mirrored within 5 sd of half."""
    known = variants()
    made = crop_and_flip(copies(8100), DRAWS).inputs.contiguous()
    places = torch.tensor([known[picture.numpy().tobytes()] for picture in made])
    counts = (places[:, 0] * 9 + places[:, 1]).bincount(minlength=81)
    assert ((counts - 100).abs() < 5 * (8100 / 81 * 80 / 81) ** 0.5).all()
    assert abs(int(places[:, 2].sum()) - 4050) < 5 * (8100 / 4) ** 0.5
    both = (counts.argmax() == places[:, 0] * 9 + places[:, 1]) & (places[:, 2] == 1)
    assert 25 < int(both.sum()) < 110  # mirrored or not whatever the place


def test_members_draw_for_themselves_whoever_is_beside_them():
    batch = copies(3, 5)
    together = crop_and_flip(batch, DRAWS.of([4, 9, 2])).inputs
    assert together.shape == (3, 5, 3, 6, 8)
    assert not torch.equal(together[0], together[1])
    for k, member in enumerate((4, 9, 2)):
        alone = crop_and_flip(copies(1, 5), DRAWS.of([member])).inputs
        assert torch.equal(alone[0], together[k])


def test_each_picture_moves_as_a_whole_and_gets_no_pixel_of_another():
    inputs = torch.arange(1.0, 7.0)[:, None, None, None].expand(6, 3, 6, 8)
    made = crop_and_flip(Batch(inputs, torch.zeros(6), torch.arange(6)), DRAWS).inputs
    for own, picture in zip(inputs, made, strict=True):
        assert set(picture.unique().tolist()) <= {0.0, float(own.max())}
        assert torch.equal(picture[0], picture[2])


def test_steps_differ_and_the_batch_given_is_left_alone():
    batch = copies(1, 5)
    before = batch.inputs.clone()
    first = crop_and_flip(batch, DRAWS.at("augment", 0).of([0]))
    second = crop_and_flip(batch, DRAWS.at("augment", 1).of([0]))
    again = crop_and_flip(batch, DRAWS.at("augment", 0).of([0]))
    assert torch.equal(first.inputs, again.inputs)
    assert not torch.equal(first.inputs, second.inputs)
    assert torch.equal(batch.inputs, before)
    assert first.rows is batch.rows
    assert first.targets is batch.targets


def test_pixels_become_channels_first_numbers_up_to_one_and_back():
    pixels = torch.randint(256, (5, 6, 8, 3), generator=generator(1), dtype=torch.uint8)
    inputs = inputs_of(pixels)
    assert inputs.dtype == torch.float32
    assert inputs.is_contiguous()
    assert inputs[2, 1, 4, 7] == pixels[2, 4, 7, 1].item() / 255
    for channels in (3, 1):
        data = TensorData(inputs[:, :channels], torch.arange(5))
        problem = Problem(Classification(5), data, data)
        shown = pictures_of(problem, torch.tensor([3, 1]))
        assert torch.equal(shown, pixels[[3, 1]][..., :channels].squeeze(-1))


@pytest.mark.parametrize("lead", [(50,), (2, 50)])
def test_normalised_channels_have_mean_zero_and_deviation_one(lead):
    x = torch.rand(*lead, 3, 6, 8, generator=generator(2)) * torch.tensor([1, 2, 5.0]).view(3, 1, 1)
    axes = tuple(a for a in range(x.ndim) if a != x.ndim - 3)
    layer = Normalise(x.mean(axes).tolist(), x.std(axes).tolist())
    out = layer(x)
    torch.testing.assert_close(out.mean(axes), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(out.std(axes), torch.ones(3))
    assert not list(layer.parameters())
