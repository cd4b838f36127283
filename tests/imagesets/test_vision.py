import torch

from imagesets import vision


def test_torchvision_imports_here():
    assert vision.torchvision().datasets.MNIST.__name__ == "MNIST"
    assert vision.torchvision() is vision.torchvision()


def test_nothing_is_declared_where_the_operators_exist(monkeypatch):
    vision.torchvision()
    declared = list(vision._declared)
    monkeypatch.setattr(torch.library, "Library", None)  # calling it would raise
    vision.torchvision()
    vision._declare_missing_operators()
    assert vision._declared == declared
