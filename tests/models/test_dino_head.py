import copy

import pytest
import torch
import torch.nn.functional as F

from lafs_pipeline.models.dino_head import DINOHead


def literal_logits(head: DINOHead, embeddings: torch.Tensor) -> torch.Tensor:
    return F.linear(F.normalize(head.mlp(embeddings), dim=-1), F.normalize(head.last_layer.weight, dim=-1))


def make_head() -> DINOHead:
    torch.manual_seed(0)
    head = DINOHead(12, 30, hidden_dim=16, bottleneck_dim=8)
    torch.nn.init.normal_(head.last_layer.weight, std=3.0)
    return head


def test_gradients_are_those_of_normalized_prototypes():
    mine, theirs = make_head(), make_head()
    embeddings, direction = torch.randn(5, 12), torch.randn(5, 30)
    inputs = [embeddings.clone().requires_grad_() for _ in range(2)]
    (mine(inputs[0]) * direction).sum().backward()
    (literal_logits(theirs, inputs[1]) * direction).sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad)
    for (name, parameter), reference in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(parameter.grad, reference.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_the_products_alone_are_in_half_precision():
    head = make_head()
    embeddings = torch.randn(5, 12)
    exact = copy.deepcopy(head)
    (exact(embeddings) ** 2).sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        logits = head(embeddings)
    assert logits.dtype == torch.float32
    (logits**2).sum().backward()
    gradient, reference = head.last_layer.weight.grad, exact.last_layer.weight.grad
    assert gradient.dtype == torch.float32
    assert F.cosine_similarity(gradient.flatten(), reference.flatten(), dim=0) > 0.99


@pytest.mark.parametrize("frozen", ["mlp", "last_layer"])
def test_frozen_parts_get_no_gradient(frozen):
    head = make_head()
    getattr(head, frozen).requires_grad_(False)
    head(torch.randn(3, 12)).sum().backward()
    assert {name.split(".")[0] for name, value in head.named_parameters() if value.grad is None} == {frozen}
